"""Peer for the interoperation test: HPKE as in Python's `cryptography`.

Reads one JSON object a line and answers with one a line. Bytes are hexadecimal. A sealed message is the
encapsulated key followed by the ciphertext; associated data is empty, because this interface has none.

  {"op": "version"}                                                   -> {"version": ...}
  {"op": "generate", "kem": ...}                                      -> {"public": ...}
  {"op": "seal", "kem": ..., "public": ..., "info": ..., "plaintext": ...} -> {"sealed": ...}
  {"op": "open", "kem": ..., "info": ..., "sealed": ...}              -> {"plaintext": ...} or {"refused": true}

`open` uses the key of the last `generate` for that KEM.
"""

import json
import sys

import cryptography
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class XWing:
    """0x647a: ML-KEM-768 public key (1184 bytes), then X25519 (32 bytes)."""

    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

    def generate(self):
        pq, classical = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        public = pq.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        return hpke.MLKEM768X25519PrivateKey(pq, classical), public

    def public(self, raw):
        return hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(raw[:1184]),
            x25519.X25519PublicKey.from_public_bytes(raw[1184:]),
        )


class Mlkem1024P384:
    """0x0051: ML-KEM-1024 public key (1568 bytes), then an uncompressed P-384 point (97 bytes)."""

    suite = hpke.Suite(hpke.KEM.MLKEM1024_P384, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM)

    def generate(self):
        pq, classical = mlkem.MLKEM1024PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
        point = classical.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return hpke.MLKEM1024P384PrivateKey(pq, classical), pq.public_key().public_bytes_raw() + point

    def public(self, raw):
        return hpke.MLKEM1024P384PublicKey(
            mlkem.MLKEM1024PublicKey.from_public_bytes(raw[:1568]),
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), raw[1568:]),
        )


KEMS = {"xwing": XWing(), "mlkem1024-p384": Mlkem1024P384()}
private_keys = {}


def answer(request):
    field = lambda name: bytes.fromhex(request[name])
    if request["op"] == "version":
        return {"version": cryptography.__version__}
    kem = KEMS[request["kem"]]
    if request["op"] == "generate":
        private_keys[request["kem"]], public = kem.generate()
        return {"public": public.hex()}
    if request["op"] == "seal":
        sealed = kem.suite.encrypt(field("plaintext"), kem.public(field("public")), info=field("info"))
        return {"sealed": sealed.hex()}
    if request["op"] == "open":
        try:
            plaintext = kem.suite.decrypt(field("sealed"), private_keys[request["kem"]], info=field("info"))
        except InvalidTag:
            return {"refused": True}
        return {"plaintext": plaintext.hex()}
    raise ValueError(request["op"])


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
