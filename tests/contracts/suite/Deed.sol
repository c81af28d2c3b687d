// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721Enumerable} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721Enumerable.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";

/// @title An ERC-721 that can be listed.
contract Deed is ERC721Enumerable, Ownable {
    constructor() ERC721("Deed", "DEED") Ownable(msg.sender) {}

    function mint(address to, uint256 id) external onlyOwner {
        _safeMint(to, id);
    }
}

/// @title Takes deeds from one collection only.
contract Archive is IERC721Receiver {
    address public immutable collection;
    uint256 public count;

    error NotOurs(address collection);

    constructor(address collection_) {
        collection = collection_;
    }

    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        if (msg.sender != collection) revert NotOurs(msg.sender);
        count++;
        return IERC721Receiver.onERC721Received.selector;
    }
}
