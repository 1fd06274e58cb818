using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace Rlhf.Reporting;

/// <summary>
/// Markup that is well-formed as HTML and as XML. What is put into a template's holes is escaped, unless it is markup itself, so that no
/// text of a run can become markup.
/// </summary>
public readonly struct Html
{
    private readonly string? markup;

    private Html(string markup) => this.markup = markup;

    /// <summary>No markup.</summary>
    public static Html Empty => default;

    /// <summary>Markup with escaped holes: <c>Html.Of($"&lt;b&gt;{text}&lt;/b&gt;")</c>.</summary>
    public static Html Of(Template template) => new(template.ToString());

    /// <summary>Markup that was written by this program; never text of a run.</summary>
    public static Html Trusted(string markup) => new(markup);

    /// <summary>One after the other.</summary>
    public static Html Join(IEnumerable<Html> parts) => new(string.Concat(parts));

    /// <inheritdoc/>
    public override string ToString() => markup ?? "";

    /// <summary>
    /// Text as content of an element or a quoted attribute. Control characters become their pictures, and what Unicode or XML has no
    /// character for the replacement character.
    /// </summary>
    public static string Escape(string text)
    {
        var escaped = new StringBuilder(text.Length + 16);
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                escaped.Append(c).Append(text[++i]);
            else
                _ = c switch
                {
                    '&' => escaped.Append("&amp;"),
                    '<' => escaped.Append("&lt;"),
                    '>' => escaped.Append("&gt;"),
                    '"' => escaped.Append("&quot;"),
                    '\'' => escaped.Append("&#39;"),
                    '\n' or '\t' => escaped.Append(c),
                    < ' ' => escaped.Append((char)('\u2400' + c)),
                    '\u007f' => escaped.Append('\u2421'),
                    (>= '\u0080' and <= '\u009f') or (>= '\ud800' and <= '\udfff') or '\ufffe' or '\uffff' => escaped.Append('\ufffd'),
                    _ => escaped.Append(c),
                };
        }
        return escaped.ToString();
    }

    /// <summary>An interpolated string whose holes are escaped.</summary>
    [InterpolatedStringHandler]
    public readonly ref struct Template
    {
        private readonly StringBuilder text;

        /// <summary>Made by the compiler.</summary>
        public Template(int literalLength, int formattedCount) => text = new(literalLength + 32 * formattedCount);

        /// <summary>The template's own markup.</summary>
        public void AppendLiteral(string markup) => text.Append(markup);

        /// <summary>Text from anywhere.</summary>
        public void AppendFormatted(string? value) => text.Append(Escape(value ?? ""));

        /// <summary>Markup.</summary>
        public void AppendFormatted(Html value) => text.Append(value.markup);

        /// <summary>A number or the like.</summary>
        public void AppendFormatted<T>(T value, string? format = null) where T : IFormattable =>
            text.Append(Escape(value.ToString(format, CultureInfo.InvariantCulture)));

        /// <inheritdoc/>
        public override string ToString() => text.ToString();
    }
}
