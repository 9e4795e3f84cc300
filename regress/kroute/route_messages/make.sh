#!/usr/bin/env bash
# Writes the messages of messages.c as a system's headers lay them out: make.sh ZIG SYSTEM, where
# SYSTEM is x86_64-openbsd, x86-freebsd and the like. One line for each: its name and its octets.
set -euo pipefail
here=$(dirname "$0")
object=$(mktemp)
trap 'rm -f "$object"' EXIT
"$1" cc -target "$2" -c -O1 -Wno-unused-command-line-argument "$here/messages.c" -o "$object"
for section in $(objdump -h "$object" | grep -o 'message\.[a-z0-9_]*' | LC_ALL=C sort -u); do
    octets=$(objcopy -O binary --only-section="$section" --set-section-flags "$section=alloc" \
        "$object" /dev/stdout | od -An -v -tx1 | tr -d ' \n')
    echo "${section#message.} $octets"
done
