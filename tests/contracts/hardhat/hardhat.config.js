import ignition from "@nomicfoundation/hardhat-ignition-viem";
import viem from "@nomicfoundation/hardhat-viem";
import { defineConfig } from "hardhat/config";

export default defineConfig({
  plugins: [viem, ignition],
  solidity: {
    compilers: [
      {
        version: "0.8.37",
        path: process.env.SOLJSON, // npm's solc; without a path Hardhat would download a compiler
        settings: { evmVersion: "osaka", optimizer: { enabled: true, runs: 200 }, metadata: { bytecodeHash: "none" } },
      },
    ],
  },
  networks: {
    bitai: { type: "http", chainType: "l1", url: process.env.SHOP_URL, accounts: [process.env.SHOP_KEY] },
  },
  ignition: { blockPollingInterval: 50, requiredConfirmations: 1, disableFeeBumping: true },
});
