// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title What the chain knows of Bitcoin, as of this block's L1 origin.
/// @notice Hashes are in internal byte order: the order of hashing, reversed from what block explorers print.
interface IL1Info {
    /// @return The height of the L1 origin.
    function height() external view returns (uint64);

    /// @return The median time past of the L1 origin, in seconds.
    function medianTimePast() external view returns (uint64);

    /// @return The highest L2 block that was final when this epoch began.
    function finalizedNumber() external view returns (uint64);

    /// @return The block hash of the L1 origin.
    function blockHash() external view returns (bytes32);

    /// @return The L1 fee rate in force, in sats per 1,000 weight units.
    function feeRate() external view returns (uint64);

    /// @return The scalar of the data fee in force, in millionths.
    function feeScalar() external view returns (uint64);

    /// @param ofHeight an L1 height
    /// @return The hash of that L1 block, or zero if it is not one of the last 8,192 origins.
    function hashOf(uint64 ofHeight) external view returns (bytes32);
}
