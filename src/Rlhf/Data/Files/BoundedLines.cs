using System.Text;

namespace Rlhf.Data.Files;

/// <summary>
/// Reads lines of a UTF-8 file (or UTF-16 with a byte order mark) without letting one endless line fill the memory.
/// </summary>
internal static class BoundedLines
{
    /// <summary>
    /// Decodes strictly: a text with bytes of another encoding is refused rather than filled with replacement characters.
    /// </summary>
    public static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static StreamReader Open(Stream stream) =>
        new(stream, StrictUtf8, detectEncodingFromByteOrderMarks: true, bufferSize: 1 << 14);

    /// <summary>Lines with their numbers from 1; they end with LF or CR LF, which is not part of them.</summary>
    public static IEnumerable<(long Number, string Line)> Read(Stream stream, string file, int maxLength)
    {
        using var reader = Open(stream);
        var buffer = new char[1 << 14];
        var line = new StringBuilder();
        long number = 1;
        while (ReadBlock(reader, buffer, file, number) is > 0 and int read)
        {
            for (int start = 0; start < read;)
            {
                int end = Array.IndexOf(buffer, '\n', start, read - start);
                line.Append(buffer, start, (end < 0 ? read : end) - start);
                if (line.Length > maxLength)
                    throw new InvalidDataException(
                        $"{file}, line {number}: the line is longer than the {maxLength:N0} characters that are accepted; "
                        + "is this a text file?");
                if (end < 0)
                    break;
                yield return (number++, Take(line));
                start = end + 1;
            }
        }
        if (line.Length > 0)
            yield return (number, Take(line));
    }

    private static int ReadBlock(StreamReader reader, char[] buffer, string file, long number)
    {
        try
        {
            return reader.Read(buffer, 0, buffer.Length);
        }
        catch (DecoderFallbackException error)
        {
            throw new InvalidDataException(
                $"{file}, in or after line {number}: the bytes are not UTF-8; save the file as UTF-8.", error);
        }
    }

    private static string Take(StringBuilder line)
    {
        if (line.Length > 0 && line[^1] == '\r')
            line.Length--;
        var text = line.ToString();
        line.Clear();
        return text;
    }
}
