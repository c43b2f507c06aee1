import ArgumentParser
import Glibc
import IPC
import SystemPackage

/// `ipc bridge`: becomes `ipc-bridge`, which needs a library that not everybody has.
struct BridgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bridge", abstract: "Carry channels between machines, over NATS with JetStream.",
        discussion: """
            Run one on each machine. It needs libnats, and a NATS server; `ipc bridge --help` lists the options. The program \
            `ipc-bridge`, in the folder of this one, does it.

            Examples:
              ipc bridge --config bridge.json
              ipc bridge --server nats://10.0.0.5:4222 --channel 'market/**' --direction both
              ipc bridge check --config bridge.json
              ipc bridge status
            """)

    @Argument(parsing: .captureForPassthrough, help: "The arguments of ipc-bridge.") var arguments: [String] = []

    func run() throws {
        let folder = ProcFiles.link("/proc/self/exe")?.split(separator: "/").dropLast().joined(separator: "/") ?? ""
        let program = "/" + folder + "/ipc-bridge"
        guard unsafe access(program, X_OK) == 0 else {
            if arguments == ["--help"] || arguments == ["-h"] { throw CleanExit.helpRequest(self) }
            throw IPCError(
                .notFound, "start", program,
                advice:
                    "it has to be in the folder of ipc; install libnats (libnats-dev), and build it: swift build -c release --traits NATS --product ipc-bridge"
            )
        }
        // What ends this program is blocked here, and it is `ipc-bridge` that takes it.
        let words = unsafe (["ipc-bridge"] + arguments).map { unsafe strdup($0) } + [nil]
        unsafe execv(program, words)
        throw IPCError("execv", program, Errno(rawValue: errno))
    }
}
