#!/usr/bin/env bash
# Builds the documentation of the libraries below .build/documentation: a DocC archive for IPC and one for IPCChannels.
# Fails on a link that leads nowhere, on a public type or an article that is in no group of its module's page, and on a file of
# the repository that an article names and that is not there.
#
#   Scripts/documentation.sh [--skip-build]      --skip-build: take the modules of the debug build as they are
#
# To read it: python3 -m http.server -d .build/documentation/IPC.doccarchive, and open /documentation/ipc.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1-}" in
"") swift build --target IPCChannels --quiet ;;
--skip-build) ;;
*)
    echo "usage: Scripts/documentation.sh [--skip-build]" >&2
    exit 64
    ;;
esac

modules=.build/debug/Modules
output=.build/documentation
# The tools of the toolchain that built the modules.
tools=$(swiftc -print-target-info | sed -n 's/.*"runtimeResourcePath" *: *"\(.*\)".*/\1/p')/../../bin
target=$(swiftc -print-target-info | sed -n '0,/"triple"/s/.*"triple" *: *"\(.*\)".*/\1/p')
if [ ! -x "$tools/docc" ]; then
    echo "$tools/docc does not exist; install a toolchain of swift.org, which contains docc." >&2
    exit 1
fi
rm -rf "$output"
mkdir -p "$output"

# What the modules import from C.
maps=()
for map in .build/debug/CIPCShims.build/module.modulemap .build/checkouts/swift-system/Sources/CSystem/include/module.modulemap; do
    maps+=(-Xcc "-fmodule-map-file=$map")
done

dependencies=()
for module in IPC IPCChannels; do
    mkdir -p "$output/symbols/$module"
    "$tools/swift-symbolgraph-extract" -module-name "$module" -target "$target" -I "$modules" "${maps[@]}" \
        -module-cache-path "$output/cache" -minimum-access-level public -skip-synthesized-members \
        -output-dir "$output/symbols/$module"
    "$tools/docc" convert "Sources/$module/$module.docc" --additional-symbol-graph-dir "$output/symbols/$module" \
        --fallback-display-name "$module" --fallback-bundle-identifier "swift-ipc.$module" \
        --enable-experimental-external-link-support "${dependencies[@]}" --warnings-as-errors \
        --output-dir "$output/$module.doccarchive"
    # So that the pages of IPCChannels may link to those of IPC.
    dependencies+=(--dependency "$output/$module.doccarchive")
done

# Checks that DocC does not make.
python3 - "$output" <<'END'
import json, os, re, sys

faults = []
for module in ("IPC", "IPCChannels"):
    with open(f"{sys.argv[1]}/{module}.doccarchive/data/documentation/{module.lower()}.json") as file:
        sections = json.load(file).get("topicSections", [])
    # DocC puts what nobody has put into a group into one of its own.
    for section in sections:
        if section.get("generated"):
            faults += [f"{page.split('/')[-1]} is not in a topic group of {module}.md" for page in section["identifiers"]]
    catalogue = f"Sources/{module}/{module}.docc"
    for name in sorted(os.listdir(catalogue)):
        with open(f"{catalogue}/{name}") as file:
            text = file.read()
        for path, anchor in re.findall(r"`((?:Documentation|Examples|Sources|Tests|Scripts)/[\w./+-]+?)(#[\w-]+)?`", text):
            if not os.path.exists(path):
                faults.append(f"{catalogue}/{name}: {path} does not exist")
            elif anchor:
                with open(path) as file:
                    headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
                anchors = ["#" + re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
                if anchor not in anchors:
                    faults.append(f"{catalogue}/{name}: {path} has no heading {anchor}")
if faults:
    sys.exit("\n".join(faults))
END
echo "The documentation is in $output: $(cd "$output" && echo *.doccarchive)."
