// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title A purse that some of its owners open together: by votes on chain, or by signatures given elsewhere.
contract Multisig {
    struct Proposal {
        address to;
        uint256 value;
        bytes data;
        uint256 votes;
        bool done;
    }

    address[] public owners;
    mapping(address who => bool) public isOwner;
    uint256 public immutable needed;
    Proposal[] public proposals;
    mapping(uint256 proposal => mapping(address owner => bool)) public voted;
    uint256 public signedCount;

    event Proposed(uint256 indexed proposal, address indexed by);
    event Voted(uint256 indexed proposal, address indexed by);
    event Done(uint256 indexed proposal, bytes answer);
    event Received(address indexed from, uint256 value);

    error NotAnOwner(address who);
    error VotedAlready(address who);
    error TooFewVotes(uint256 votes, uint256 needed);
    error Failed(bytes reason);

    constructor(address[] memory owners_, uint256 needed_) {
        owners = owners_;
        needed = needed_;
        for (uint256 index = 0; index < owners_.length; index++) isOwner[owners_[index]] = true;
    }

    receive() external payable {
        emit Received(msg.sender, msg.value);
    }

    modifier onlyOwner() {
        if (!isOwner[msg.sender]) revert NotAnOwner(msg.sender);
        _;
    }

    function propose(address to, uint256 value, bytes calldata data) external onlyOwner returns (uint256 proposal) {
        proposal = proposals.length;
        proposals.push(Proposal(to, value, data, 0, false));
        emit Proposed(proposal, msg.sender);
    }

    function vote(uint256 proposal) external onlyOwner {
        if (voted[proposal][msg.sender]) revert VotedAlready(msg.sender);
        voted[proposal][msg.sender] = true;
        proposals[proposal].votes++;
        emit Voted(proposal, msg.sender);
    }

    function execute(uint256 proposal) external onlyOwner {
        Proposal storage found = proposals[proposal];
        if (found.votes < needed || found.done) revert TooFewVotes(found.votes, needed);
        found.done = true;
        emit Done(proposal, act(found.to, found.value, found.data));
    }

    /// Signatures over (chain, this, count, to, value, data), in rising order of their signers.
    function executeSigned(address to, uint256 value, bytes calldata data, bytes[] calldata signatures) external {
        bytes32 hash = keccak256(abi.encode(block.chainid, address(this), signedCount, to, value, data));
        address last = address(0);
        for (uint256 index = 0; index < signatures.length; index++) {
            address signer = ECDSA.recover(MessageHashUtils.toEthSignedMessageHash(hash), signatures[index]);
            if (!isOwner[signer] || signer <= last) revert NotAnOwner(signer);
            last = signer;
        }
        if (signatures.length < needed) revert TooFewVotes(signatures.length, needed);
        signedCount++;
        act(to, value, data);
    }

    function act(address to, uint256 value, bytes memory data) private returns (bytes memory) {
        (bool done, bytes memory answer) = to.call{value: value}(data);
        if (!done) revert Failed(answer);
        return answer;
    }
}
