#!@bash@ -e
# A tool that the development shell offers and no build uses.
echo "$(basename $0): nothing to do in the stand-in"
