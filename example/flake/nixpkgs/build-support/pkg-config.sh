#!@bash@ -e
# pkg-config --libs NAME: the linker flags of a library, or the complaint that it is not there.
library=$2
for directory in ${PKG_CONFIG_PATH//:/ }; do
    if [ -f $directory/$library.pc ]; then
        while read -r field value; do
            if [ "$field" = Libs: ]; then
                echo "$value"
            fi
        done < $directory/$library.pc
        exit 0
    fi
done
echo "Package $library was not found in the pkg-config search path." >&2
exit 1
