import IPC

/// How figures and messages are shown in tables.
enum Table {
    /// 1.5 KiB, and so on.
    static func size(_ bytes: Int?) -> String {
        guard let bytes else { return "-" }
        var (value, unit) = (Double(bytes), 0)
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
        let rounded = (value * 10).rounded() / 10
        return (rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)") + " " + units[unit]
    }

    /// Text that is shown as it is only if a terminal can show it.
    static func printable(_ bytes: [UInt8], limit: Int = .max) -> String {
        var text = ""
        for character in String(decoding: bytes.prefix(limit), as: UTF8.self) {
            let isControl = character.unicodeScalars.contains { $0.isControl || $0.value == 0xfffd }
            text += isControl ? "·" : String(character)
        }
        return bytes.count > limit ? text + "…" : text
    }
}
