import Glibc

/// Standard input, output and errors of a program that may have been started without them.
enum StandardDescriptors {
    /// Opens `/dev/null` for each that is closed. Otherwise, the next files to be opened would get the numbers 0 to 2, and what
    /// is written to standard output would go into one of them.
    static func openClosedOnes() {
        for number in 0...2 where fcntl(CInt(number), F_GETFD) < 0 {
            // The lowest free number is this one. Without /dev/null nothing better can be done.
            _ = unsafe open("/dev/null", O_RDWR)
        }
    }
}
