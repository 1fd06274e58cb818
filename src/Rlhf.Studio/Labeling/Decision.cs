using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Rlhf.Data;

namespace Rlhf.Studio.Labeling;

/// <summary>What somebody did with a pair that was shown.</summary>
public enum Verdict
{
    /// <summary>The answer that the pairs file has first is better, wherever it stood on the page.</summary>
    A,

    /// <summary>The answer that the pairs file has second is better.</summary>
    B,

    /// <summary>Neither is better.</summary>
    Tie,

    /// <summary>No judgment.</summary>
    Skip,

    /// <summary>The labeler's last decision, which was of this pair, is taken back.</summary>
    Undo,
}

/// <summary>One line of a journal: nothing in it is ever changed, so taking back is a line, too.</summary>
/// <param name="Time">When, UTC.</param>
/// <param name="Pair">The pair's id.</param>
/// <param name="Verdict">What was decided.</param>
/// <param name="Swapped">Stood the file's second answer first?</param>
/// <param name="Repeat">Was the pair shown a second time, to see whether the choice is the same?</param>
/// <param name="Labeler">Who decided; empty when unknown.</param>
/// <param name="Session">The visit of the page, to tell two people of one name apart.</param>
/// <param name="Seconds">Time from showing to deciding.</param>
public sealed record Decision(
    DateTime Time, string Pair, Verdict Verdict, bool Swapped, bool Repeat, string Labeler, string Session, double Seconds)
{
    private static readonly JsonWriterOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly string[] Words = ["a", "b", "tie", "skip", "undo"];

    /// <summary>Is one of the answers better?</summary>
    public bool IsChoice => Verdict is Verdict.A or Verdict.B;

    /// <summary>Was it the answer that stood first on the page?</summary>
    public bool ChoseFirst => Verdict == (Swapped ? Verdict.B : Verdict.A);

    /// <summary>The choice in the words of labeled pairs.</summary>
    /// <exception cref="InvalidOperationException">It is none.</exception>
    public PairChoice Choice => Verdict switch
    {
        Verdict.A => PairChoice.A,
        Verdict.B => PairChoice.B,
        _ => throw new InvalidOperationException($"{Verdict} is no choice."),
    };

    /// <summary>Writes the line, with its end.</summary>
    public byte[] ToLine()
    {
        using var line = new MemoryStream();
        using (var json = new Utf8JsonWriter(line, Writing))
        {
            json.WriteStartObject();
            json.WriteString("time", Time.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture));
            json.WriteString("id", Pair);
            json.WriteString("verdict", Words[(int)Verdict]);
            json.WriteString("shown", Swapped ? "ba" : "ab");
            json.WriteBoolean("repeat", Repeat);
            json.WriteString("labeler", Labeler);
            json.WriteString("session", Session);
            json.WriteNumber("seconds", Math.Round(Seconds, 2));
            json.WriteEndObject();
        }
        line.WriteByte((byte)'\n');
        return line.ToArray();
    }

    /// <summary>Reads a line; null for one that is not whole, or is something else.</summary>
    public static Decision? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            var reader = new Utf8JsonReader(line);
            using var json = JsonDocument.ParseValue(ref reader);
            var row = json.RootElement;
            int verdict = Array.IndexOf(Words, row.GetProperty("verdict").GetString());
            string? pair = row.GetProperty("id").GetString(), shown = row.GetProperty("shown").GetString();
            double seconds = row.GetProperty("seconds").GetDouble();
            if (verdict < 0 || pair is null || shown is not ("ab" or "ba") || !double.IsFinite(seconds))
                return null;
            return new(row.GetProperty("time").GetDateTime().ToUniversalTime(), pair, (Verdict)verdict, shown == "ba",
                row.GetProperty("repeat").GetBoolean(), Text(row, "labeler"), Text(row, "session"), seconds);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }

    private static string Text(JsonElement row, string name) => row.TryGetProperty(name, out var value) ? value.GetString() ?? "" : "";
}
