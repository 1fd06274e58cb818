using System.Text.RegularExpressions;
using Markdig;
using Markdig.Renderers.Html;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;
using Microsoft.AspNetCore.Components;

namespace Rlhf.Studio.Labeling;

/// <summary>
/// Answers as people read them: Markdown and code are rendered, and turns of a conversation are headed by who speaks. What a stranger's model
/// wrote is never taken for HTML: tags are shown as text, and links and images as their text, so that nothing can be clicked or loaded.
/// </summary>
internal static partial class AnswerMarkup
{
    private const int LongestText = 200_000;

    private static readonly MarkdownPipeline Pipeline = new MarkdownPipelineBuilder().DisableHtml().UsePipeTables().UseSoftlineBreakAsHardlineBreak().Build();

    /// <summary>The HTML of a text; null where it is plain and best shown as it is.</summary>
    public static MarkupString? Of(string text)
    {
        if (text.Length > LongestText || !Signs().IsMatch(text))
            return null;
        var document = Markdown.Parse(Role().Replace(text, "\n\n**$1**\n\n"), Pipeline);
        foreach (var link in document.Descendants<LinkInline>().ToArray())
            AsText(link);
        foreach (var link in document.Descendants<AutolinkInline>().ToArray())
            link.ReplaceBy(new LiteralInline(link.Url));
        foreach (var paragraph in document.Descendants<ParagraphBlock>().Where(IsRole))
            paragraph.GetAttributes().AddClass("role");
        return new MarkupString(document.ToHtml(Pipeline));
    }

    private static void AsText(LinkInline link)
    {
        var text = new ContainerInline();
        link.MoveChildrenAfter(text);
        string shown = string.Concat(text.Descendants<LiteralInline>().Select(literal => literal.Content.ToString()));
        link.ReplaceBy(new LiteralInline(link.Url is { Length: > 0 } url && url != shown ? $"{shown} ({url})" : shown));
    }

    private static bool IsRole(ParagraphBlock paragraph) => paragraph.Inline?.FirstChild is EmphasisInline { FirstChild: LiteralInline name, NextSibling: null }
        && RoleName().IsMatch(name.Content.ToString());

    // What makes a text more than plain: fences, code, emphasis, headings, lists, tables, links, turns.
    [GeneratedRegex(@"```|`[^`\n]+`|\*\*\S|^\s{0,3}(#{1,6} |[-*+] |\d{1,3}[.)] |> |\|.*\|)|\]\(|^(Human|User|Assistant|System|H|A): ", RegexOptions.Multiline)]
    private static partial Regex Signs();

    [GeneratedRegex(@"^(Human|User|Assistant|System|H|A): ?", RegexOptions.Multiline)]
    private static partial Regex Role();

    [GeneratedRegex("^(Human|User|Assistant|System|H|A)$")]
    private static partial Regex RoleName();
}
