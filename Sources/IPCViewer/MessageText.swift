import IPC

/// Bytes without a known meaning as text, or in hexadecimal digits if they are no UTF-8.
struct MessageText {
    let text: String
    let isHex: Bool

    /// - Parameter isWhole: Whether these are all bytes. If not, an ellipsis follows.
    init(_ bytes: [UInt8], isWhole: Bool) {
        // What was cut may have been cut within a character.
        for missing in 0...(isWhole ? 0 : min(3, bytes.count)) {
            if let text = String(validating: bytes.dropLast(missing), as: UTF8.self) {
                (self.text, isHex) = (isWhole ? text : text + "…", false)
                return
            }
        }
        (text, isHex) = (bytes.hexadecimal + (isWhole ? "" : "…"), true)
    }

    /// For people.
    var line: String { isHex ? "0x" + text : text }
}
