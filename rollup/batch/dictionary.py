"""Dictionary 1: bytes that transactions of any Ethereum-like chain hold again and again.

A channel of a few transactions has no past to refer to; this is its past. It is part of the protocol: another
dictionary is another version byte. Pieces stand by rising use, because near matches are cheaper to name.
"""

from typing import Final

from primitives.hashes import keccak256
from vm import predeploys

_SOLC: Final = tuple(
    bytes.fromhex(piece)
    for piece in (
        # panics and reverts: selector of Panic(uint256) or Error(string), code, length
        "7f4e487b71000000000000000000000000000000000000000000000000000000005f52604160045260245ffd5b",
        "634e487b7160e01b5f52601160045260245ffd5b634e487b7160e01b5f52603260045260245ffd5b",
        "60405162461bcd60e51b815260206004820152",
        "6040805162461bcd60e51b8152602060048201526024810191909152",
        # checks of arguments: addresses, words, offsets and lengths
        "80356001600160a01b03811681146101",
        "73ffffffffffffffffffffffffffffffffffffffff1673ffffffffffffffffffffffffffffffffffffffff168152",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "81016040528092919081815260200183838082843780820191505050505050919291929050505061",
        "60405180910390fd5b6040519081526020015b60405180910390f35b",
        "67ffffffffffffffff8111156101",
        # the events of tokens
        "7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        "7f8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925",
        # beginning of a runtime, its dispatcher, and of a constructor; the metadata at the end
        "5b806323b872dd1461",
        "5f3560e01c8063",
        "608060405234801561000f575f5ffd5b506004361061",
        "a2646970667358221220",
        "64736f6c634300081e0033",
        "608060405234801561000f575f80fd5b50",
        "6080604052348015600e575f5ffd5b5061",
        "5f395ff3fe608060405234801561000f575f5ffd5b50600436106100",
    )
)
_FUNCTIONS: Final = (
    "execute(bytes,bytes[],uint256)",
    "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)",
    "multicall(bytes[])",
    "deposit()",
    "withdraw(uint256)",
    "burn(uint256)",
    "safeTransferFrom(address,address,uint256)",
    "setApprovalForAll(address,bool)",
    "infer(bytes32,bytes,bytes,uint32)",
    "mint(address,uint256)",
    "approve(address,uint256)",
    "transferFrom(address,address,uint256)",
    "transfer(address,uint256)",
)
_WORDS: Final = (
    b"\xff" * 32,
    (96).to_bytes(32, "big"),
    (64).to_bytes(32, "big"),
    (32).to_bytes(32, "big"),
    (1).to_bytes(32, "big"),
    bytes(64),
)
_ADDRESSES: Final = (
    predeploys.CREATE2_DEPLOYER,
    predeploys.MODEL_REGISTRY,
    predeploys.L1_INFO,
    predeploys.INFER,
)

DICTIONARY: Final = b"".join(
    (
        *_SOLC,
        *_ADDRESSES,
        *(keccak256(name.encode())[:4] for name in _FUNCTIONS),
        *_WORDS,
    )
)
