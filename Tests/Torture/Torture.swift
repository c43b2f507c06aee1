// Kills participants of channels by the hundred thousand, and looks at what the others see.
//
//     Torture (--hours H | --seconds S) [--seed N] [--round N [--rounds COUNT]] [--without fork,exec,second,stop,PATTERN]
//             [--longest-wait MILLISECONDS]
//     Torture --kill-points
//     Torture participant LEDGER SEED ROUND INDEX WITHOUT        started by the first form
import CIPCShims
import Glibc
import IPC

@main
struct Torture {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments == ["--kill-points"] { return Points.all.forEach { print($0) } }
        if arguments.first == "participant", arguments.count == 6 { return participate(arguments) }
        guard let options = Options(arguments) else {
            fail(
                "usage: Torture (--hours H | --seconds S) [--seed N] [--round N [--rounds COUNT]] [--without fork,exec,second,stop,PATTERN] [--longest-wait MILLISECONDS] | --kill-points",
                code: 2)
        }
        do throws(IPCError) {
            exit(try Orchestrator(options).run() ? 0 : 1)
        } catch {
            fail("\(error)", code: 1)
        }
    }

    private static func fail(_ text: String, code: CInt) -> Never {
        var line = text + "\n"
        _ = line.withUTF8 { write(2, $0.baseAddress, $0.count) }
        exit(code)
    }

    private static func participate(_ arguments: [String]) {
        _ = ipc_die_with_parent()
        guard let seed = UInt64(arguments[2]), let round = Int(arguments[3]), let index = Int(arguments[4]) else {
            fail("participant: \(arguments) are no numbers", code: 2)
        }
        // On a task, so that it may wait in every way; this thread has nothing more to do.
        Task.detached {
            do throws(IPCError) {
                let ledger = try Ledger(opening: arguments[1])
                await Roles.run(try Participant(Plan(seed, round, without: list(arguments[5])), index, ledger))
            } catch {
                fail("violation member \(index): cannot begin: \(error)", code: 1)
            }
        }
        while true { pause() }
    }
}

/// Words between commas.
func list(_ text: String) -> [String] { text.split(separator: ",").map(String.init) }

/// What the command line asks for.
struct Options {
    var seconds = 20.0
    var seed = UInt64.random(in: 1...UInt64(UInt32.max))
    var firstRound = 0
    var rounds = Int.max
    var without: [String] = []
    /// How long anybody may wait for the dead, in milliseconds.
    var longestWait = 100

    /// What repeats a round.
    func command(_ round: Int) -> String {
        "Torture --seed \(seed) --round \(round)"
            + (without.isEmpty ? "" : " --without \(without.joined(separator: ","))")
    }

    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch name {
            case "--longest-wait":
                guard let milliseconds = Int(value), (1...60_000).contains(milliseconds) else { return nil }
                longestWait = milliseconds
            case "--hours":
                guard let hours = Double(value), hours > 0, hours < 10_000 else { return nil }
                seconds = hours * 3600
            case "--seconds":
                guard let seconds = Double(value), seconds > 0, seconds < 36_000_000 else { return nil }
                self.seconds = seconds
            case "--seed":
                guard let seed = UInt64(value) else { return nil }
                self.seed = seed
            case "--round":
                guard let round = Int(value), round >= 0 else { return nil }
                firstRound = round
                if rounds == .max { rounds = 1 }
            case "--rounds":
                guard let rounds = Int(value), rounds > 0 else { return nil }
                self.rounds = rounds
            case "--without": without = list(value)
            default: return nil
            }
        }
    }
}
