#!/usr/bin/env bash
# Uses the packages as a stranger would: packs them for this platform, then installs from a folder feed with an empty home.
#   packaging/check.sh            the tool and a program on the library, both take two PPO steps; about two minutes
#   packaging/check.sh --quick    the tool only, and no training
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
feed=$work/feed
case "$(uname -sm)" in
    "Linux x86_64") platform=linux-x64 ;;
    "Darwin arm64") platform=osx-arm64 ;;
    *) echo "There is no package for $(uname -sm)."; exit 1 ;;
esac

# The package folder may be named with a slash at its end or without, and what was built before stays usable.
dotnet build src/Rlhf.Cli -c Release
packages=$(dotnet nuget locals global-packages --list)
packages=${packages#*: }
for spelling in "${packages%/}/" "${packages%/}"; do
    rm -rf "$feed"
    NUGET_PACKAGES=$spelling dotnet pack Rlhf.slnx -c Release -p:ToolPackageRuntimeIdentifiers=$platform -o "$feed"
    NUGET_PACKAGES=$spelling dotnet run --no-build -c Release --project src/Rlhf.Cli -- --version
done
ls -l "$feed"
version=$(basename "$feed"/Rlhf.Cli.$platform.*.nupkg .nupkg)
version=${version#Rlhf.Cli."$platform".}
size=$(wc -c < "$feed/Rlhf.Cli.$platform.$version.nupkg")
((size < 250 * 1024 * 1024)) || { echo "The tool's package has $size bytes; nuget.org takes 250 MiB."; exit 1; }
for package in "$feed"/*nupkg; do
    python3 - "$package" "$repository" <<'PYTHON'
import sys, zipfile
for member in (archive := zipfile.ZipFile(sys.argv[1])).infolist():
    if member.file_size < 50_000_000 and sys.argv[2].encode() in archive.read(member):
        sys.exit(f"{sys.argv[1]}: {member.filename} names {sys.argv[2]}")
PYTHON
done

export HOME=$work/home DOTNET_CLI_HOME=$work/home NUGET_PACKAGES=$work/home/packages DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
unset RLHF_CACHE XDG_CACHE_HOME HF_HOME
mkdir -p "$HOME" "$work/empty"
cd "$work/empty"
dotnet tool install --tool-path "$work/tools" --add-source "$feed" --version "$version" Rlhf.Cli
rlhf=$work/tools/rlhf
[[ $("$rlhf" --version) == "$version" ]] || { echo "rlhf --version does not say $version"; exit 1; }
"$rlhf" info
"$rlhf" studio --port 0 --json > studio.json &
studio=$!
python3 - <<'PYTHON'
import json, re, time, urllib.request
for wait in range(100):
    try:
        url = json.load(open("studio.json"))["url"]
        break
    except (OSError, ValueError):
        time.sleep(0.2)
page = urllib.request.urlopen(url).read().decode()
assets = re.findall(r'(?:src|href)="/(assets/[^"]+)"', page)
assert "No runs here yet" in page and len(assets) > 5, page
for asset in assets:
    assert len(urllib.request.urlopen(url + asset).read()) > 100, asset
PYTHON
kill "$studio"
wait "$studio"
[[ ${1:-} == --quick ]] && exit 0

"$rlhf" ppo --steps 2 --threads 1 --output run
"$rlhf" generate --model imdb-gpt2-tiny "This movie is" --threads 1
"$rlhf" ppo --config run/config.yaml --steps 1 --output again > again.txt || { cat again.txt; exit 1; }

dotnet new console -o Program --no-restore
cd Program
# The program of the package's page.
sed -n '/^```csharp$/,/^```$/{/^```/d;p}' "$repository/packaging/Rlhf.md" > Program.cs
dotnet nuget add source "$feed" --name folder
dotnet add package Rlhf --version "$version" > /dev/null
dotnet build 2>&1 | grep -m1 RLHF001 || { echo "A program without libtorch was not warned."; exit 1; }
dotnet run --no-build -- "$repository/models/imdb-gpt2-tiny" > without.txt 2>&1 && { echo "It ran without libtorch?"; exit 1; }
grep "dotnet add package libtorch-cpu-$platform --version" without.txt
eval "> /dev/null $(grep -o "dotnet add package libtorch-cpu-$platform --version [0-9.]*[0-9]" without.txt | head -1)"
dotnet run -c Release -- "$repository/models/imdb-gpt2-tiny"
