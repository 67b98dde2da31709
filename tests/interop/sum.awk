# sum.awk - passes on what programs print, and adds up the lines that end each one: "N passed, N failed, N skipped".
# With -v expected=N, each of the N that ended without its count is a failure.
/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { programs++; passed += $1; failed += $3; skipped += $5; next }
{ print; fflush() }
END {
    failed += expected - programs
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed != 0
}
