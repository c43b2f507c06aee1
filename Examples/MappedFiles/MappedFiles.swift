// Memory-mapped files: what one process writes, another finds, also after the first has ended.
import Glibc
import IPC
import SystemPackage

@main
struct MappedFiles {
    static func main() throws {
        if CommandLine.arguments.count == 2 {
            let file = try MappedFile.open(FilePath(CommandLine.arguments[1]))
            // A window that need not lie on a page.
            let window = try file.map(8000..<8008)
            window.store(UInt64(42), at: 0)
            try window.sync()  // on the disk from here on
            return
        }
        let path = "/tmp/ipc-example-\(getpid())"
        let file = try MappedFile.create(FilePath(path), byteCount: 16_384)
        defer { unlink(path) }
        let child = try ChildProcess("/proc/self/exe", [path])
        print("writer:", try child.wait(until: .after(.seconds(10))))
        let mapping = try file.map()
        try mapping.advise(.random)
        print("found", mapping.load(UInt64.self, at: 8000), "in a file of", mapping.byteCount, "bytes")
    }
}
