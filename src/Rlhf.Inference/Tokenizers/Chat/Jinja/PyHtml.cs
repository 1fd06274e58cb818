using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Escaping for HTML. Chat templates hardly use it, but Jinja has it, and a few print a Markup.</summary>
internal static class PyHtml
{
    /// <summary>What |escape gives.</summary>
    public static PyMarkup Escape(object? value, JinjaBudget budget)
    {
        if (value is PyMarkup markup)
            return markup;
        var text = PyRepr.Str(value, budget);
        budget.Allocate(5L * text.Length);
        return new(text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
            .Replace(">", "&gt;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal)
            .Replace("'", "&#39;", StringComparison.Ordinal));
    }

    /// <summary>Markup.striptags(): comments and tags go, white space is folded, entities become characters.</summary>
    public static string StripTags(string text, JinjaBudget budget)
    {
        budget.Allocate(2L * text.Length);
        return System.Net.WebUtility.HtmlDecode(Fold(WithoutTags(WithoutComments(text))));
    }

    private static string WithoutComments(string text)
    {
        var kept = new StringBuilder();
        int done = 0;
        while (text.IndexOf("<!--", done, StringComparison.Ordinal) is >= 0 and var start
            && text.IndexOf("-->", start, StringComparison.Ordinal) is >= 0 and var end)
        {
            kept.Append(text, done, start - done);
            done = end + 3;
        }
        return kept.Append(text, done, text.Length - done).ToString();
    }

    private static string WithoutTags(string text)
    {
        var kept = new StringBuilder();
        int done = 0;
        while (text.IndexOf('<', done) is >= 0 and var start && text.IndexOf('>', start) is >= 0 and var end)
        {
            kept.Append(text, done, start - done);
            done = end + 1;
        }
        return kept.Append(text, done, text.Length - done).ToString();
    }

    private static string Fold(string text) => string.Join(' ', PyStrings.SplitSpaces(text, -1).Select(PyText.Of));
}
