#!/bin/sh
# Gathers the photos that the network `photographs` is trained on: experiments/gather_photographs.sh PHOTOS
# PHOTOS is made, or is an empty folder: pictures are removed from it that are not to be trained on.
#
# From packages of Debian 12 (bookworm), downloaded and unpacked without being installed, and from Python packages.
# Authors and licences stand in experiments/photographs.md. Needs apt-get, dpkg, and a Python with scikit-image,
# scikit-learn and matplotlib (PYTHON, by default .venv/bin/python).
set -eu
photos=$(mkdir -p "$1" && cd "$1" && pwd)
if [ -n "$(ls -A "$photos")" ]; then
    echo "$photos is not empty. Give a new folder." >&2
    exit 2
fi
python=${PYTHON:-.venv/bin/python}
if ! "$python" -c 'import matplotlib, skimage, sklearn' 2> /dev/null; then
    echo "$python: needs scikit-image, scikit-learn and matplotlib. Set PYTHON to a Python that has them." >&2
    exit 2
fi
python=$("$python" -c 'import sys; print(sys.executable)')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

for package in lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds plasma-workspace-wallpapers \
    palapeli-data kphotoalbum gimp-help-en; do
    apt-get download -q "$package"
    dpkg -x "$package"_*.deb .
    rm "$package"_*.deb
done
cd usr/share
cp backgrounds/*_by_*.jpg backgrounds/mate/nature/*.jpg "$photos"
for name in BytheWater ColdRipple ColorfulCups EveningGlow FallenLeaf Grey Kite OneStandsOut Path; do
    cp "wallpapers/$name/contents/images/2560x1600.jpg" "$photos/$name.jpg"
done
cp palapeli/collection/castle-maintenon.jpg palapeli/collection/citrus-fruits.jpg \
    palapeli/collection/panther-chameleon-female.jpg "$photos"
cp kphotoalbum/demo/*.jpg "$photos"
cd gimp/2.0/help/en/images/tutorials/tone-mapping
cp power-lines.jpg apple-orchard-truck-tone-mapped-with-Exposur.jpg "$photos"
"$python" - "$photos" <<'END'
import pathlib, shutil, sys
import matplotlib, skimage, sklearn

for module, folder, names in (
    (skimage, "data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    (sklearn, "datasets/images", ("china.jpg", "flower.jpg")),
    (matplotlib, "mpl-data/sample_data", ("grace_hopper.jpg",)),
):
    for name in names:
        shutil.copy(pathlib.Path(module.__file__).parent / folder / name, sys.argv[1])
END
# Drawn or blurred ones, and small ones that show little.
cd "$photos"
rm analogpattern_by_* umang_by_* Fossa_by_* Infinite-Sea_by_* Painting-Colors_by_*
rm anne_helene.jpg grand_canyon_3.jpg jesper.jpg pool_2.jpg skagen_2.jpg sunset.jpg
echo "$(ls | wc -l) photos are in $photos"
