using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Rlhf.Cli.Terminal;

/// <summary>
/// Where a verb's words go. People read standard output; with --json that carries nothing but JSON, and the words go to standard
/// error; with --quiet they go nowhere.
/// </summary>
internal sealed class Screen
{
    private const int WidthOfFiles = 120, WidthOfStatus = 10_000;
    private readonly IAnsiConsole? people;

    public Screen(bool json, bool quiet)
    {
        Json = json;
        people = quiet ? null : CreateConsole(json ? Console.Error : Console.Out);
        IsLive = people is { Profile.Capabilities: { Ansi: true, Interactive: true } };
    }

    /// <summary>Standard output carries JSON only.</summary>
    public bool Json { get; }

    /// <summary>Can lines be redrawn? False for files, pipes and with --quiet.</summary>
    public bool IsLive { get; }

    /// <summary>The console that people read, or null when nobody does.</summary>
    public IAnsiConsole? People => people;

    /// <summary>How JSON is spelt everywhere: snake_case, readable characters, NaN refused by writing null.</summary>
    public static JsonSerializerOptions JsonOptions { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
        Converters = { new FiniteNumberConverter() },
    };

    public static IAnsiConsole CreateConsole(TextWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
        if (!console.Profile.Out.IsTerminal)
            console.Profile.Width = WidthOfFiles;
        return console;
    }

    /// <summary>Writes one line of markup; text from data must have gone through <see cref="Safe"/>.</summary>
    public void Line(string markup = "")
    {
        if (people is { Profile.Out.IsTerminal: true })
            people.MarkupLine(markup);
        else
            people?.Profile.Out.Writer.WriteLine(Markup.Remove(markup)); // a file's lines are not broken at a width
    }

    /// <summary>Columns that a line may have; unlimited where it is written to no terminal.</summary>
    public int Width => people is { Profile.Out.IsTerminal: true } ? people.Profile.Width : int.MaxValue;

    /// <summary>Shows progress on the last line of the terminal (<see cref="StatusLine"/>).</summary>
    /// <param name="line">How far the work is.</param>
    /// <param name="margin">Columns that stay free at the right.</param>
    public void Status(ProgressLine line, int margin)
    {
        if (!IsLive)
            return;
        var text = new StringWriter();
        var styles = AnsiConsole.Create(new() { Ansi = AnsiSupport.Yes, Out = new AnsiConsoleOutput(text) });
        styles.Profile.Capabilities.ColorSystem = people!.Profile.Capabilities.ColorSystem;
        styles.Profile.Width = WidthOfStatus;
        styles.Markup(line.ToMarkup(people.Profile.Width - margin, withBar: true));
        StatusLine.OfProcess.Show(Json ? Terminals.Error : Terminals.Out, text.ToString());
    }

    public void Write(IRenderable renderable) => people?.Write(renderable);

    /// <summary>A title and below it names with their values.</summary>
    public void Facts(string title, IEnumerable<(string Name, string Value)> facts)
    {
        Line($"[bold]{Safe(title)}[/]");
        Write(new NamedValues([.. facts.Select(fact => (fact.Name, Safe(fact.Value)))]));
        Line();
    }

    /// <summary>Writes the result that a program reads.</summary>
    public void WriteJson<T>(T value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, JsonOptions));

    /// <summary>Text from outside as a terminal may show it: control characters gone, markup escaped.</summary>
    public static string Safe(string text) => Markup.Escape(Clean(text));

    /// <summary>Text on one line without control or invisible direction characters.</summary>
    public static string Clean(string text)
    {
        var clean = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
            if (rune.Value is '\n' or '\t')
                clean.Append(' ');
            else if (!Rune.IsControl(rune) && !TurnsText(rune.Value))
                clean.Append(rune.ToString());
        return clean.ToString();
    }

    // Marks that make text run from right to left, and so can show a line as what it is not.
    private static bool TurnsText(int rune) => rune is (>= 0x200E and <= 0x200F) or (>= 0x202A and <= 0x202E)
        or (>= 0x2066 and <= 0x2069);

    private sealed class FiniteNumberConverter : JsonConverter<double>
    {
        public override double Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) => reader.GetDouble();

        public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options)
        {
            if (double.IsFinite(value))
                writer.WriteNumberValue(value);
            else
                writer.WriteNullValue();
        }
    }
}
