import ArgumentParser

@main
struct IPCCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ipc",
        abstract: "Measure the ways in which processes exchange data.",
        version: "0.1.0",
        subcommands: [BenchCommand.self, BenchWorkerCommand.self, BenchParticipantCommand.self]
    )
}
