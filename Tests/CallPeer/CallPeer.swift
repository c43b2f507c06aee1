// Each public call of the library, in tables: with deadlines, in sandboxes, with system calls that fail, and many times.
// A process of its own, so that nothing but the call uses its processor time, descriptors and memory.
import Glibc
import IPC
import SystemPackage
import TestSupport

@main
struct CallPeer {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments[0] {
        // Children of this program, with its root.
        case "serve": return try Sandbox.serve(arguments[1])
        case "hold": return try Sandbox.hold(arguments[1])
        default: _ = channelRoot
        }
        defer { removeScratch() }
        switch arguments[0] {
        case "check":
            let calls = try PublicCalls.all(in: FilePath(arguments[1]))
            print("\(calls.count) calls")
            for line in Deadlines.check(calls) { print("deadlines: \(line)") }
            for line in Failures.check(calls) { print("failures: \(line)") }
        case "deadlines":
            // A part of the rows, so that several processes can share the work.
            let (part, parts) = (Int(arguments[1])!, Int(arguments[2])!)
            for (index, row) in Deadlines.rows.enumerated() where index % parts == part {
                for line in Deadlines.run(row) { print(line) }
                fflush(nil)
            }
            print("end")
        case "repeat":
            let (count, part, parts) = (Int(arguments[1])!, Int(arguments[2])!, Int(arguments[3])!)
            for (index, row) in Deadlines.rows.enumerated() where index % parts == part {
                for line in LongUse.run(row, count) { print(line) }
                fflush(nil)
            }
            print("end")
        case "failures":
            let (errors, part, parts) = (Int(arguments[1])!, Int(arguments[2])!, Int(arguments[3])!)
            for (index, row) in Failures.rows.enumerated() where index % parts == part {
                for line in Failures.run(row, errors: errors) { print(line) }
                fflush(nil)
            }
            print("end")
        case "failure":
            for row in Failures.rows where row.name.contains(arguments[1]) {
                print(row.name)
                for line in Failures.run(row, errors: 4) { print("  ", line) }
                fflush(nil)
            }
        case "sandbox": try Sandbox.run(Array(arguments.dropFirst(2)), CInt(arguments[1])!)
        case "connect": try Sandbox.connect(CInt(arguments[1])!)
        case "deadline":
            for row in Deadlines.rows where row.calls[0].contains(arguments[1]) { print(row.calls, Deadlines.run(row)) }
        default: fatalError("unknown role")
        }
    }

    static func removeScratch() {
        removeAll("/*", "/root/.*")
        removeKeptChannels()
        rmdir(scratchFolder + "/root")
        rmdir(scratchFolder)
    }
}

/// Those on disk, which stay when nobody uses them.
func removeKeptChannels() { removeAll("/root/*/*", "/root/*") }

private func removeAll(_ patterns: String...) {
    for pattern in patterns {
        var names = glob_t()
        glob(scratchFolder + pattern, 0, nil, &names)
        for index in 0..<Int(names.gl_pathc) { if remove(names.gl_pathv[index]!) != 0 { continue } }
        globfree(&names)
    }
}
