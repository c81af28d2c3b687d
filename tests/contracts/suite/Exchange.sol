// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Two coins in a pool whose product never falls; 0.3 % of what comes in stays with those who lent it.
contract Pair is ERC20, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    IERC20 public immutable coin0;
    IERC20 public immutable coin1;
    uint112 public reserve0;
    uint112 public reserve1;

    event Lent(address indexed by, uint256 amount0, uint256 amount1, uint256 shares);
    event Returned(address indexed to, uint256 amount0, uint256 amount1, uint256 shares);
    event Swapped(address indexed to, uint256 in0, uint256 in1, uint256 out0, uint256 out1);

    error ProductFell(uint256 before, uint256 afterwards);
    error NothingLent();

    constructor(IERC20 coin0_, IERC20 coin1_) ERC20("Pool share", "POOL") {
        (coin0, coin1) = (coin0_, coin1_);
    }

    function lend(address to) external nonReentrant returns (uint256 shares) {
        (uint256 have0, uint256 have1) = balances();
        (uint256 more0, uint256 more1) = (have0 - reserve0, have1 - reserve1);
        uint256 supply = totalSupply();
        shares = supply == 0
            ? Math.sqrt(more0 * more1)
            : Math.min(more0 * supply / reserve0, more1 * supply / reserve1);
        if (shares == 0) revert NothingLent();
        _mint(to, shares);
        keep(have0, have1);
        emit Lent(to, more0, more1, shares);
    }

    function giveBack(address to) external nonReentrant returns (uint256 out0, uint256 out1) {
        uint256 shares = balanceOf(address(this));
        (uint256 have0, uint256 have1) = balances();
        uint256 supply = totalSupply();
        (out0, out1) = (shares * have0 / supply, shares * have1 / supply);
        _burn(address(this), shares);
        coin0.safeTransfer(to, out0);
        coin1.safeTransfer(to, out1);
        keep(have0 - out0, have1 - out1);
        emit Returned(to, out0, out1, shares);
    }

    function swap(uint256 out0, uint256 out1, address to) external nonReentrant {
        if (out0 > 0) coin0.safeTransfer(to, out0);
        if (out1 > 0) coin1.safeTransfer(to, out1);
        (uint256 have0, uint256 have1) = balances();
        uint256 in0 = have0 + out0 - reserve0;
        uint256 in1 = have1 + out1 - reserve1;
        uint256 product = (have0 * 1000 - in0 * 3) * (have1 * 1000 - in1 * 3);
        uint256 before = uint256(reserve0) * reserve1 * 1000 ** 2;
        if (product < before) revert ProductFell(before, product);
        keep(have0, have1);
        emit Swapped(to, in0, in1, out0, out1);
    }

    function balances() private view returns (uint256, uint256) {
        return (coin0.balanceOf(address(this)), coin1.balanceOf(address(this)));
    }

    function keep(uint256 have0, uint256 have1) private {
        (reserve0, reserve1) = (uint112(have0), uint112(have1));
    }
}

/// @title One pair for two coins, at an address that both determine.
contract PairFactory {
    mapping(address coin => mapping(address other => Pair)) public pairOf;

    event PairMade(address indexed coin0, address indexed coin1, address pair);

    function make(address a, address b) external returns (Pair pair) {
        (address coin0, address coin1) = a < b ? (a, b) : (b, a);
        pair = new Pair{salt: keccak256(abi.encode(coin0, coin1))}(IERC20(coin0), IERC20(coin1));
        pairOf[a][b] = pair;
        pairOf[b][a] = pair;
        emit PairMade(coin0, coin1, address(pair));
    }
}

/// @title What people talk to: moves their coins in, and asks for at least so much out.
contract Router {
    using SafeERC20 for IERC20;

    PairFactory public immutable factory;

    error TooLittle(uint256 out, uint256 wanted);

    constructor(PairFactory factory_) {
        factory = factory_;
    }

    function lend(address a, address b, uint256 amountA, uint256 amountB) external returns (uint256 shares) {
        Pair pair = factory.pairOf(a, b);
        IERC20(a).safeTransferFrom(msg.sender, address(pair), amountA);
        IERC20(b).safeTransferFrom(msg.sender, address(pair), amountB);
        return pair.lend(msg.sender);
    }

    function swap(uint256 amount, uint256 wanted, address[] calldata path) external returns (uint256 out) {
        out = amount;
        IERC20(path[0]).safeTransferFrom(msg.sender, address(factory.pairOf(path[0], path[1])), amount);
        for (uint256 step = 0; step + 1 < path.length; step++) {
            address to = step + 2 < path.length ? address(factory.pairOf(path[step + 1], path[step + 2])) : msg.sender;
            out = hop(factory.pairOf(path[step], path[step + 1]), path[step], out, to);
        }
        if (out < wanted) revert TooLittle(out, wanted);
    }

    function hop(Pair pair, address from, uint256 amount, address to) private returns (uint256 out) {
        bool first = address(pair.coin0()) == from;
        (uint256 inside, uint256 outside) = first ? (uint256(pair.reserve0()), uint256(pair.reserve1())) : (uint256(pair.reserve1()), uint256(pair.reserve0()));
        uint256 counted = amount * 997;
        out = counted * outside / (inside * 1000 + counted);
        pair.swap(first ? 0 : out, first ? out : 0, to);
    }
}
