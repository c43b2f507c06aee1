import Glibc
import IPC

/// A terminal that is drawn on as a whole, and whose keys come one by one.
final class Terminal {
    enum Key: Equatable { case character(Character), enter, escape, backspace, up, down, other }

    private let before: termios
    /// What was typed and not handed over yet: somebody types fast, or pastes.
    private var typed: [UInt8] = []

    init() {
        var settings = termios()
        unsafe tcgetattr(STDIN_FILENO, &settings)
        before = settings
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
        unsafe tcsetattr(STDIN_FILENO, TCSANOW, &settings)
        // Another page, which goes when this ends; no cursor.
        printTo("\u{1B}[?1049h\u{1B}[?25l")
    }

    func restore() {
        printTo("\u{1B}[?25h\u{1B}[?1049l")
        var settings = before
        unsafe tcsetattr(STDIN_FILENO, TCSANOW, &settings)
    }

    var size: (columns: Int, rows: Int) {
        var size = winsize()
        guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return (80, 24) }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    func draw(_ lines: [String], rows: Int) {
        // Each line is cleared to its end, and what is below it: nothing flickers.
        printTo("\u{1B}[H" + lines.prefix(max(rows - 1, 1)).map { $0 + "\u{1B}[K\r\n" }.joined() + "\u{1B}[J")
    }

    /// The next key; nil if there is none until then.
    nonisolated(nonsending) func key(until deadline: Deadline) async throws(IPCError) -> Key? {
        if !typed.isEmpty { return takeKey() }
        do throws(IPCError) {
            try await Reactor.wait(for: .readable, of: STDIN_FILENO, until: deadline, "read", "terminal")
        } catch {
            guard error.code == .timedOut else { throw error }
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(STDIN_FILENO, &bytes, bytes.count)
        guard count > 0 else { return nil }
        typed = Array(bytes[..<count])
        return takeKey()
    }

    private func takeKey() -> Key {
        if typed.first == 27 {
            // An arrow is three bytes; Escape alone is one, whatever was typed after it.
            guard typed.count >= 3, typed[1] == UInt8(ascii: "[") else {
                typed.removeFirst()
                return .escape
            }
            let arrow = typed[2]
            typed.removeFirst(3)
            return arrow == UInt8(ascii: "A") ? .up : arrow == UInt8(ascii: "B") ? .down : .other
        }
        let byte = typed.removeFirst()
        switch byte {
        case 10, 13: return .enter
        case 127, 8: return .backspace
        case 32...: return .character(Character(UnicodeScalar(byte)))
        default: return .other
        }
    }

    private func printTo(_ text: String) { try? MessageOutput.put(Array(text.utf8)) }
}
