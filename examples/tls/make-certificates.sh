#!/usr/bin/env bash
# Makes the certificates of this example: an authority, and what it has signed for the server (localhost) and for a client.
# They are valid for 100 years. Their keys are public: use them for nothing else.
# Run: bash examples/tls/make-certificates.sh. Needs openssl 1.1.1 or later.
set -euo pipefail
cd "$(dirname "$0")"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

key "$tmp/ca-key.pem"
openssl req -x509 -new -key "$tmp/ca-key.pem" -days 36500 -subj '/CN=example CA' -out ca-cert.pem \
  -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign'

# Name of the files, common name, extensions.
certificate() {
  key "$1-key.pem"
  openssl req -new -key "$1-key.pem" -subj "/CN=$2" -out "$tmp/request.pem"
  printf 'basicConstraints=critical,CA:FALSE\n%s\n' "$3" > "$tmp/extensions"
  openssl x509 -req -in "$tmp/request.pem" -CA ca-cert.pem -CAkey "$tmp/ca-key.pem" -CAcreateserial -CAserial "$tmp/serial" \
    -days 36500 -extfile "$tmp/extensions" -out "$1-cert.pem" 2> "$tmp/log" || { cat "$tmp/log"; exit 1; }
}

server=$'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
certificate server localhost "$server"
certificate new-server localhost "$server"
certificate client 'a good client' 'extendedKeyUsage=clientAuth'
