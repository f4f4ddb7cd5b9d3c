# Builds stdenv itself: setup.sh, told where its shell is.
mkdir -p $out
cp $script $out/setup
replace $out/setup @bash@ $bash
