"""What others measured on GOPRO_Large's 1111 test images, to stand beside one's own figures."""

from __future__ import annotations

from typing import NamedTuple

# The three frames that the report names.
REPORT_FRAMES = ("GOPR0384_11_00/000001", "GOPR0384_11_05/004001", "GOPR0385_11_01/003011")

# The report's Tables 4.1 and 4.2: loss, PSNR in dB, SSIM, MS-SSIM of the three frames and of the average.
REPORT_TABLES = {
    "the report, pixel shuffle": {
        "GOPR0384_11_00/000001": (0.00473, 27.77, 0.8216, 0.9228),
        "GOPR0384_11_05/004001": (0.00536, 27.72, 0.9017, 0.9443),
        "GOPR0385_11_01/003011": (0.00611, 27.20, 0.8537, 0.9070),
        "average": (0.00542, 27.99, 0.8458, 0.9269),
    },
    "the report, transposed convolution": {
        "GOPR0384_11_00/000001": (0.00475, 27.78, 0.8222, 0.9242),
        "GOPR0384_11_05/004001": (0.00559, 27.48, 0.9014, 0.9436),
        "GOPR0385_11_01/003011": (0.00604, 27.31, 0.8557, 0.9105),
        "average": (0.00545, 27.97, 0.8452, 0.9265),
    },
}

PER_CHANNEL = "per channel"
MATLAB = "MATLAB on RGB"


class Published(NamedTuple):
    """One published average over the 1111 test images.

    Attributes:
        method: Name and year.
        blur: The folder of blurry images: "blur" or "blur_gamma".
        psnr: In dB.
        ssim: As it was printed, by the convention named next.
        convention: PER_CHANNEL (`metrics.ssim`) or MATLAB (`metrics.ssim_matlab`).
        source: Where the figures and the convention stand.
    """

    method: str
    blur: str
    psnr: float
    ssim: str
    convention: str
    source: str


PUBLISHED = (
    Published(
        "Nah et al. 2017, with adversarial loss",
        "blur_gamma",
        29.08,
        "0.9135",
        MATLAB,
        "paper, K = 3; github.com/SeungjunNah/DeepDeblur_release, issues 51 and 60",
    ),
    Published(
        "the same authors, L1 loss, 2020",
        "blur_gamma",
        30.40,
        "0.9018",
        PER_CHANNEL,
        "README of github.com/SeungjunNah/DeepDeblur-PyTorch",
    ),
    Published("SRN, 2018", "blur", 30.26, "0.934", MATLAB, "table of MPRNet's paper"),
    Published(
        "DMPHN, 2019",
        "blur",
        31.20,
        "0.940",
        MATLAB,
        "table of MPRNet's paper; github.com/HongguangZhang/DMPHN-cvpr19-master, issue 8",
    ),
    Published(
        "MPRNet, 2021",
        "blur",
        32.66,
        "0.959",
        MATLAB,
        "paper; github.com/swz30/MPRNet, issue 75, evaluate_GOPRO_HIDE.m",
    ),
    Published(
        "Restormer, 2022", "blur", 32.92, "0.961", MATLAB, "paper; github.com/swz30/Restormer, evaluate_gopro_hide.m"
    ),
    Published(
        "NAFNet, width 64, 2022",
        "blur",
        33.71,
        "0.9668",
        MATLAB,
        "README and psnr_ssim.py of github.com/megvii-research/NAFNet",
    ),
)
