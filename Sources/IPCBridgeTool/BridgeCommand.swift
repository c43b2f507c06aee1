import ArgumentParser
import Glibc
import IPC
import SystemPackage

#if NATS
    @main
    struct BridgeCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ipc-bridge",
            abstract: "Carry channels between machines, over NATS with JetStream.",
            discussion: """
                Run one on each machine. Programs use channels as before; what they publish, send and call reaches the other \
                machines. Documentation/bridge.md has the configuration, and what is promised for each pattern.

                Examples:
                  ipc bridge --config bridge.json
                  ipc bridge --server nats://10.0.0.5:4222 --channel 'market/**' --direction both
                  ipc bridge check --config bridge.json
                  ipc bridge status

                A second bridge of the same machine waits, and takes over when the first one is dead. SIGTERM and Ctrl-C end it \
                in order, within five seconds; SIGHUP makes it read its configuration again.

                Exit codes: 0 done; 1 failed; 4 not found; 5 permission denied; 64 invalid arguments or configuration; 130 and \
                143 ended by Ctrl-C and SIGTERM.
                """,
            version: "0.2.0",
            subcommands: [RunCommand.self, CheckCommand.self, StatusCommand.self],
            defaultSubcommand: RunCommand.self)

        static func main() async {
            // Taken as values by what runs, before there are other threads that they could interrupt.
            SignalSet([.interrupt, .terminate, .hangUp]).blockInCallingThread()
            signal(SIGPIPE, SIG_IGN)
            do {
                var command = try await asyncParseAsRoot()
                if var command = command as? any AsyncParsableCommand {
                    try await command.run()
                } else {
                    try command.run()
                }
            } catch { end(with: error) }
        }

        /// One line on standard error, which says what to do.
        private static func end(with error: any Error) -> Never {
            switch error {
            case let error as IPCError:
                printError("ipc-bridge: \(error)")
                Glibc.exit(exitCode(error))
            case let error as ValidationError:
                printError("ipc-bridge: \(error.message)")
                Glibc.exit(64)
            default: exit(withError: error)
            }
        }

        private static func exitCode(_ error: IPCError) -> Int32 {
            switch error.code {
            case .notFound: 4
            case .permissionDenied: 5
            case .invalidArgument, .invalidName, .incompatibleOptions: 64
            default: 1
            }
        }
    }
#else
    @main
    enum BridgeCommand {
        static func main() {
            printError("ipc-bridge was built without NATS: build it with swift build -c release --traits NATS.")
            exit(1)
        }
    }
#endif

/// Prints a line to standard error. What a terminal would act on is escaped.
func printError(_ line: String) {
    _ = try? FileDescriptor.standardError.writeAll((line.escapingControls + "\n").utf8)
}
