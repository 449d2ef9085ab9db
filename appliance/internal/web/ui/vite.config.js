import { defineConfig } from "vite";

// Built files are committed and embedded in the binary, so that building
// Watchpost needs no Node. Names carry the hash of their contents: the box
// serves them as immutable.
export default defineConfig({
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    // The content policy forbids data: addresses and inline code.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      input: ["index.html", "sign-in.html", "not-found.html"],
    },
  },
});
