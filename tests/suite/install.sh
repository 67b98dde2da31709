#!/usr/bin/env bash
# install.sh - `make install` puts everything in its place, a program builds against what was installed, and
# `make uninstall` takes it all away.
source tests/suite/suite.sh
prefix=$SCRATCH/usr
stage=$SCRATCH/stage
[ -e build/libweft_cuda.so ] && plugin=1 || plugin=
[ -e build/libweft_mpi.so ] && mpi=1 || mpi=

check "make install" make -s install PREFIX="$prefix"
for file in bin/weft bin/weft-yaml lib/libweft.a include/weft.h share/man/man1/weft.1 share/man/man1/weft-yaml.1 \
    share/bash-completion/completions/weft share/bash-completion/completions/weft-yaml \
    share/zsh/site-functions/_weft ${plugin:+lib/libweft_cuda.so} ${mpi:+lib/libweft_mpi.so}; do
    if [ -s "$prefix/$file" ]; then pass; else fail "$file" "not installed"; fi
done
check "installed program" "$prefix/bin/weft" --version
check "installed second name" "$prefix/bin/weft-yaml" --help
check "bash completion" bash -n "$prefix/share/bash-completion/completions/weft"

cat >"$SCRATCH/user.c" <<'PROGRAM'
#include <weft.h>
int main(void)
{
    struct weft *w = NULL;
    int status = weft_create(&w, NULL);
    if (status == WEFT_OK)
        status = weft_methods(w, "linear", false);
    weft_destroy(w);
    return status;
}
PROGRAM
check "a program with libweft" gcc -Wall -Werror -I"$prefix/include" "$SCRATCH/user.c" -o "$SCRATCH/user" \
    -L"$prefix/lib" -lweft -lcjson -lyaml -lxxhash -lcrypto -ldl -lm -lpthread
check "that program runs" "$SCRATCH/user"
if command -v g++ >/dev/null; then
    check "weft.h in C++" g++ -Wall -Werror -fsyntax-only -include "$prefix/include/weft.h" -x c++ /dev/null
else
    skip "weft.h in C++" "g++ is not installed"
fi

check "make install with DESTDIR" make -s install DESTDIR="$stage" PREFIX=/usr
if [ -x "$stage/usr/bin/weft" ]; then pass; else fail "DESTDIR" "no $stage/usr/bin/weft"; fi
check "make uninstall" make -s uninstall PREFIX="$prefix"
left=$(find "$prefix" ! -type d)
if [ -z "$left" ]; then pass; else fail "uninstall" "left $left"; fi
finish
