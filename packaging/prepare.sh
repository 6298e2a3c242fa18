#!/usr/bin/env bash
# Makes in bin/package what packages and archives carry and what is not a file of
# the sources as it is: units for /usr/bin, man pages compressed, completions,
# the program that lists what is in a binary. goreleaser runs it first.
set -euo pipefail
cd "$(dirname "$0")/.."
out=bin/package
rm -rf "$out"
mkdir -p "$out"/{system,user,man1,man5,completions,schema}

# The one rule that makes a package's unit of an example's: a package's binary is
# in /usr/bin.
for unit in examples/*.service examples/*.socket; do
  [[ -e $unit ]] || continue
  name=$(basename "$unit") to=system
  if [[ $name == *-user.* ]]; then
    name=${name/-user/} to=user
  fi
  sed -e 's#/usr/local/bin/#/usr/bin/#g' "$unit" >"$out/$to/$name"
done

# Without name and time in their heads, so that the same pages are the same bytes.
for page in docs/man/*.[15]; do
  [[ -e $page ]] || continue
  gzip -9nc "$page" >"$out/man${page##*.}/$(basename "$page").gz"
done

for schema in schema/*.json; do
  [[ -e $schema ]] || continue
  cp "$schema" "$out/schema/"
done

CGO_ENABLED=0 go build -trimpath -o "$out/kita" ./cmd/kita
"$out/kita" completion bash >"$out/completions/kita.bash"
"$out/kita" completion zsh >"$out/completions/_kita"
"$out/kita" completion fish >"$out/completions/kita.fish"
rm "$out/kita"

go list -m -json all >"$out/modules.json"
go -C packaging/tools build -trimpath -o "$PWD/$out/sbom" ./sbom
