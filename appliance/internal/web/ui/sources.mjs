// Writes the hash of every source into ../dist/sources.txt. A Go test compares
// it with the sources as they are, and so notices stale pages without Node.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "." ? entry.name : join(folder, entry.name);
    if (entry.name === "node_modules") return [];
    return entry.isDirectory() ? files(path) : [path];
  });
}

const lines = files(".")
  .sort()
  .map((path) => `${createHash("sha256").update(readFileSync(path)).digest("hex")}  ${path}\n`);
writeFileSync("../dist/sources.txt", lines.join(""));
