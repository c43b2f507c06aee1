import IPC
import TestSupport
import Testing

/// The help of each command, as a terminal of 80 columns shows it.
@Suite(.timeLimit(.minutes(15))) struct HelpTests {
    /// The commands below one, from the list in its help.
    private static func subcommands(_ command: [String]) throws -> [[String]] {
        let lines = try help(of: command)
        guard let start = lines.firstIndex(of: "SUBCOMMANDS:") else { return [] }
        return lines[(start + 1)...].prefix { !$0.isEmpty }
            .filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }
            .compactMap { $0.split(separator: " ").first.map { command + [String($0)] } }
    }

    private static func help(of command: [String]) throws -> [Substring] {
        try Tool(command + ["--help"]).finish().output.split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// An example that is broken cannot be copied.
    @Test func examplesStandInOneLineEach() throws {
        var commands: [[String]] = [[]]
        var seen = 0
        while seen < commands.count {
            commands += try Self.subcommands(commands[seen])
            seen += 1
        }
        // That they are found at all.
        #expect(commands.count > 60)
        for command in commands {
            let lines = try Self.help(of: command)
            guard let start = lines.firstIndex(of: "Examples:") else { continue }
            let broken = lines[(start + 1)...].prefix { !$0.isEmpty }.filter { !$0.hasPrefix("  ") }
            #expect(broken.isEmpty, "\(command): \(broken)")
        }
    }
}
