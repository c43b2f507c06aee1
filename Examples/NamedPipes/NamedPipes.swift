// Named pipes: two processes that know only a path. Run `NamedPipes write PATH` and `NamedPipes read PATH` in two
// terminals, or without arguments for both.
import Glibc
import IPC
import SystemPackage

@main
struct NamedPipes {
    static func main() throws {
        let arguments = CommandLine.arguments
        if arguments.count == 3 {
            let pipe = try NamedPipe.openOrCreate(FilePath(arguments[2]))
            if arguments[1] == "write" {
                // Waits for a reader, but not for ever.
                let writer = try pipe.openForWriting(until: .after(.seconds(10)))
                try writer.write("hello from \(getpid())\n".utf8.span.bytes)
            } else {
                let reader = try pipe.openForReading(until: .after(.seconds(10)))
                print("read:", String(decoding: try reader.readToEnd(), as: UTF8.self), terminator: "")
            }
            return
        }
        let path = "/tmp/ipc-example-\(getpid())"
        let pipe = try NamedPipe.create(FilePath(path))
        defer { try? pipe.unlink() }
        let writer = try ChildProcess("/proc/self/exe", ["write", path])
        let reader = try ChildProcess("/proc/self/exe", ["read", path])
        print("writer:", try writer.wait(until: .after(.seconds(15))))
        print("reader:", try reader.wait(until: .after(.seconds(15))))
    }
}
