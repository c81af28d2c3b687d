import ignition from "@nomicfoundation/hardhat-ignition-viem";
import viem from "@nomicfoundation/hardhat-viem";
import { defineConfig } from "hardhat/config";

const { BITAI_RPC, PRIVATE_KEY, SOLJSON } = process.env;

export default defineConfig({
  plugins: [viem, ignition],
  solidity: {
    // SOLJSON names a soljson.js, as in npm's package solc, for machines that cannot download a compiler.
    compilers: [{ version: "0.8.37", ...(SOLJSON && { path: SOLJSON }), settings: { evmVersion: "osaka", optimizer: { enabled: true } } }],
    npmFilesToBuild: ["@bitai/contracts/testing/RecordedAnswers.sol"],
  },
  networks: {
    bitai: {
      type: "http",
      url: BITAI_RPC ?? "http://127.0.0.1:8545",
      accounts: PRIVATE_KEY ? [PRIVATE_KEY] : [],
    },
  },
  ignition: { requiredConfirmations: 1 },
});
