// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Methods that only a system transaction may call.
/// @notice The sender below has no private key: its transactions are derived from Bitcoin by every node.
abstract contract SystemOnly {
    address internal constant SYSTEM_SENDER = 0xDeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001;

    error OnlySystem(address caller);

    modifier onlySystem() {
        if (msg.sender != SYSTEM_SENDER) revert OnlySystem(msg.sender);
        _;
    }
}
