"""JWT bearer tokens against a key set in a file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from promptflow_lite.errors import AuthenticationError, ServingError
from promptflow_lite.serving.roles import Role
from promptflow_lite.serving.tokens import TokenChecker, TokenPolicy

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    keys = [
        RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": "rsa", "alg": "RS256", "use": "sig"},
        ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True) | {"kid": "ec", "alg": "ES256", "use": "sig"},
    ]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return path


@pytest.fixture
def checker(jwks: Path) -> TokenChecker:
    return TokenChecker(TokenPolicy(jwks=str(jwks), issuer="https://id.example", audience="flows"))


def token(key: Any = EC_KEY, kid: str | None = "ec", algorithm: str = "ES256", **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": "https://id.example",
        "aud": "flows",
        "sub": "alice",
        "exp": time.time() + 600,
        "roles": ["caller", "operator"],
    } | changes
    return jwt.encode(
        {k: v for k, v in claims.items() if v is not None}, key, algorithm=algorithm, headers={"kid": kid}
    )


@pytest.mark.parametrize(("key", "kid", "algorithm"), [(EC_KEY, "ec", "ES256"), (RSA_KEY, "rsa", "RS256")])
def test_a_valid_token_gives_its_subject_and_highest_role(
    checker: TokenChecker, key: Any, kid: str, algorithm: str
) -> None:
    identity = checker.check(token(key, kid, algorithm))

    assert (identity.subject, identity.role) == ("alice", Role.OPERATOR)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": time.time() - 3600},
        {"exp": None},
        {"aud": "others"},
        {"iss": "https://evil.example"},
        {"sub": None},
        {"roles": ["janitor"]},
        {"roles": None},
        {"nbf": time.time() + 3600},
    ],
    ids=["expired", "no-expiry", "audience", "issuer", "no-subject", "unknown-role", "no-role", "not-yet"],
)
def test_claims_that_do_not_fit_are_refused(checker: TokenChecker, changes: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError):
        checker.check(token(**changes))


def test_a_token_of_a_foreign_key_is_refused(checker: TokenChecker) -> None:
    with pytest.raises(AuthenticationError):
        checker.check(token(OTHER_KEY))
    with pytest.raises(AuthenticationError):
        checker.check(token(OTHER_KEY, kid="unknown"))


def test_symmetric_and_unsigned_tokens_are_refused(checker: TokenChecker) -> None:
    claims = {"iss": "https://id.example", "aud": "flows", "sub": "x", "exp": time.time() + 60, "roles": ["admin"]}
    hs256 = jwt.encode(claims, "shared secret" * 4, algorithm="HS256", headers={"kid": "ec"})
    unsigned = jwt.encode(claims, "", algorithm="none")

    for forged in (hs256, unsigned, "not.a.token", ""):
        with pytest.raises(AuthenticationError):
            checker.check(forged)


def test_roles_may_lie_inside_an_object(jwks: Path) -> None:
    policy = TokenPolicy(
        jwks=str(jwks), issuer="https://id.example", audience="flows", roles_claim="realm_access.roles"
    )

    identity = TokenChecker(policy).check(token(realm_access={"roles": ["reader"]}, roles=["admin"]))

    assert identity.role is Role.READER


def test_a_default_role_covers_tokens_without_one(jwks: Path) -> None:
    policy = TokenPolicy(jwks=str(jwks), issuer="https://id.example", audience="flows", default_role=Role.CALLER)

    assert TokenChecker(policy).check(token(roles=None)).role is Role.CALLER


def test_a_key_set_over_plain_http_is_refused() -> None:
    with pytest.raises(ServingError):
        TokenChecker(TokenPolicy(jwks="http://id.example/jwks", issuer="i", audience="a"))


def test_an_unreadable_key_set_refuses_tokens(tmp_path: Path) -> None:
    checker = TokenChecker(TokenPolicy(jwks=str(tmp_path / "none.json"), issuer="https://id.example", audience="flows"))

    with pytest.raises(AuthenticationError, match="key set"):
        checker.check(token())
