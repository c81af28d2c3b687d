// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IL1Info} from "../interfaces/IL1Info.sol";
import {SystemOnly} from "./SystemOnly.sol";

/// @title The chain's window on Bitcoin.
/// @notice Written by the first transaction of the first block of each epoch.
/// @dev Storage layout is read by the node (vm/system.py): slot 0 is height, medianTimePast, finalizedNumber and
///      feeRate from the low end, 64 bits each; slot 1 the hash; slots 2 to 8193 the ring of hashes by height % 8192;
///      slot 8194 feeScalar, which the core reads too.
contract L1Info is IL1Info, SystemOnly {
    uint64 public override height;
    uint64 public override medianTimePast;
    uint64 public override finalizedNumber;
    uint64 public override feeRate;
    bytes32 public override blockHash;
    bytes32[8192] private ring;
    uint64 public override feeScalar;

    /// @notice Enters a new epoch.
    function setL1Info(
        uint64 newHeight,
        bytes32 newHash,
        uint64 newMedianTimePast,
        uint64 newFeeRate,
        uint64 newFinalizedNumber,
        uint64 newFeeScalar
    ) external onlySystem {
        height = newHeight;
        medianTimePast = newMedianTimePast;
        finalizedNumber = newFinalizedNumber;
        feeRate = newFeeRate;
        feeScalar = newFeeScalar;
        blockHash = newHash;
        ring[newHeight % 8192] = newHash;
    }

    function hashOf(uint64 ofHeight) external view override returns (bytes32) {
        if (ofHeight > height || height - ofHeight >= 8192) return 0;
        return ring[ofHeight % 8192];
    }
}
