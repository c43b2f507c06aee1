import Glibc
import IPC

/// Arguments and variables as the system gives them: bytes. Swift's texts of them have U+FFFD for what is not UTF-8, which may be
/// the name of something else.
enum GivenBytes {
    /// Ends the program if an argument, or the variable that says where channels are, is no text.
    static func check() {
        for index in 1..<max(Int(CommandLine.argc), 1) {
            guard let argument = unsafe CommandLine.unsafeArgv[index] else { break }
            unsafe check(argument, "argument \(index)")
        }
        if let root = unsafe getenv("IPC_ROOT") { unsafe check(root, "IPC_ROOT") }
    }

    private static func check(_ text: UnsafePointer<CChar>, _ what: String) {
        let bytes = unsafe UnsafeRawBufferPointer(start: text, count: strlen(text))
        guard unsafe String(validating: bytes, as: UTF8.self) == nil else { return }
        let shown = unsafe Table.printable(Array(escapingInvalidBytes(bytes).utf8))
        printError(
            "ipc: \(what) \"\(shown)\": not valid UTF-8; pass binary messages on standard input, "
                + "and rename files and channels that have such a name")
        exit(64)
    }
}
