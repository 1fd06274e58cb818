using System.Globalization;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>The columns in which a preference pair is found, by the names that published data sets use, and the pair of a row.</summary>
internal static class PairColumns
{
    private const int Chosen = 0, Rejected = 1, Prompt = 2, Margin = 3, FirstOf0 = 4, SecondOf0 = 5, FirstOf1 = 6, SecondOf1 = 7, Better = 8, Tools = 9;

    private static readonly string[] ChosenNames = ["chosen", "chosen_response", "response_chosen", "chosen_answer", "preferred", "response_j", "output_j"],
        RejectedNames = ["rejected", "rejected_response", "response_rejected", "rejected_answer", "dispreferred", "non_preferred", "response_k", "output_k"],
        PromptNames = ["prompt", "question", "instruction", "query", "input", "context"];

    // Names of two answers in their order; a column says which one is better.
    private static readonly string[] FirstNames = ["response_a", "answer_a", "response_0", "answer_0", "response_1", "answer_1", "response1", "answer1",
            "output_1", "response_left", "answer_left"],
        SecondNames = ["response_b", "answer_b", "response_1", "answer_1", "response_2", "answer_2", "response2", "answer2", "output_2",
            "response_right", "answer_right"],
        BetterNames = ["winner", "choice", "preference", "better", "preferred", "label", "better_response_id"];

    /// <summary>The columns to read.</summary>
    public static TableColumn[] Of(PreferenceReadOptions options)
    {
        bool named = options.ChosenColumn is not null || options.RejectedColumn is not null;
        TableColumn Answer(string role, string? chosen, string[] names, string setting) =>
            TableColumn.Of(role, chosen, required: true, names) with { Setting = setting, Unless = named ? null : IsComparison, TakesLists = true };
        TableColumn Compared(string role, Func<(string First, string Second, string Better), string?> name) =>
            TableColumn.Of(role, null, required: false) with { Finder = all => !named && Comparison(all) is { } found ? name(found) : null };
        return
        [
            Answer("chosen answer", options.ChosenColumn, ChosenNames, nameof(options.ChosenColumn)),
            Answer("rejected answer", options.RejectedColumn, RejectedNames, nameof(options.RejectedColumn)),
            TableColumn.Of("prompt", options.PromptColumn, required: false, PromptNames) with { Setting = nameof(options.PromptColumn), TakesLists = true },
            TableColumn.Of("margin", options.MarginColumn, required: false, "margin") with { Setting = nameof(options.MarginColumn) },
            Compared("first answer", found => CountsFrom1(found) ? null : found.First),
            Compared("second answer", found => CountsFrom1(found) ? null : found.Second),
            Compared("first answer", found => CountsFrom1(found) ? found.First : null),
            Compared("second answer", found => CountsFrom1(found) ? found.Second : null),
            Compared("better answer", found => found.Better),
            TableColumn.Of("tools", null, required: false, "tools") with { TakesLists = true },
        ];

        static bool CountsFrom1((string First, string Second, string Better) found) => found.First.EndsWith('1');
    }

    /// <summary>The pair of a row; null where neither answer is the better one.</summary>
    /// <exception cref="InvalidDataException">The row cannot be used; the message names it.</exception>
    public static PreferencePair? Pair(TableRow row, int maxLength, ChatTemplate? template = null)
    {
        string chosen, rejected;
        bool from1 = row.Cells[FirstOf1] is not null;
        if (from1 || row.Cells[FirstOf0] is not null)
        {
            string first = row.Text(from1 ? FirstOf1 : FirstOf0, "first answer", maxLength),
                second = row.Text(from1 ? SecondOf1 : SecondOf0, "second answer", maxLength);
            if (IsFirstBetter(row, from1 ? 1 : 0) is not { } isFirst)
                return null;
            (chosen, rejected) = isFirst ? (first, second) : (second, first);
        }
        else if (MessageList.Is(row.Cells[Chosen]) || MessageList.Is(row.Cells[Rejected]))
            return MessagePair.Of(row, row.Cells[Prompt], row.Cells[Chosen], row.Cells[Rejected], ConversationDataset.ToolsOf(row, row.Cells[Tools]),
                MarginOf(row, row.Cells[Margin]), template);
        else
            (chosen, rejected) = (row.Text(Chosen, "chosen answer", maxLength), row.Text(Rejected, "rejected answer", maxLength));
        double? margin = MarginOf(row, row.Cells[Margin]);
        if (row.Cells[Prompt] is not null)
            return new PreferencePair(row.Text(Prompt, "prompt", maxLength), chosen, rejected, margin);
        int length = PreferenceDataset.CommonPrompt(chosen, rejected);
        return new PreferencePair(chosen[..length], chosen[length..], rejected[length..], margin);
    }

    /// <summary>
    /// The columns of two answers and of the judgment among those of a file; null where it has none, or names chosen and rejected themselves.
    /// </summary>
    private static (string First, string Second, string Better)? Comparison(IReadOnlyCollection<string> available)
    {
        if (ChosenNames.Any(available.Contains) && RejectedNames.Any(available.Contains))
            return null;
        var (first, second) = FirstNames.Zip(SecondNames).FirstOrDefault(names => available.Contains(names.First) && available.Contains(names.Second));
        return first is not null && BetterNames.FirstOrDefault(available.Contains) is { } better ? (first, second, better) : null;
    }

    private static bool IsComparison(IReadOnlyCollection<string> available) => Comparison(available) is not null;

    /// <summary>Whether the first answer is the better one; null where neither is.</summary>
    /// <param name="row">The row.</param>
    /// <param name="firstNumber">The number of the first answer, by the names of the columns: 0 of answer_0, 1 of answer_1 beside answer_2.</param>
    private static bool? IsFirstBetter(TableRow row, int firstNumber)
    {
        string text = (Convert.ToString(row.Cells[Better], CultureInfo.InvariantCulture) ?? "").Trim().ToLowerInvariant();
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
            return number == firstNumber ? true : number == firstNumber + 1 ? false : number == -1 ? null : throw Unknown(row, text);
        return text switch
        {
            "a" or "first" or "left" or "model_a" or "response_a" or "answer_a" => true,
            "b" or "second" or "right" or "model_b" or "response_b" or "answer_b" => false,
            "" or "tie" or "both" or "neither" or "none" or "equal" or "same" or "tie (bothbad)" => null,
            _ when text.Length > 1 && char.IsAsciiDigit(text[^1]) && (text.StartsWith("answer", StringComparison.Ordinal)
                || text.StartsWith("response", StringComparison.Ordinal)) && text[^1] - '0' - firstNumber is 0 or 1 => text[^1] - '0' == firstNumber,
            _ => throw Unknown(row, text),
        };
    }

    private static InvalidDataException Unknown(TableRow row, string text) => row.Error(
        $"\"{text}\" does not say which of the two answers is better; write a or b, or tie where neither is.");

    private static double? MarginOf(TableRow row, object? cell) => cell switch
    {
        null or "" => null,
        long whole => whole,
        double number when double.IsFinite(number) => number,
        string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            && double.IsFinite(number) => number,
        _ => throw row.Error($"the margin {Convert.ToString(cell, CultureInfo.InvariantCulture)} is not a finite number; "
            + "correct it or leave it out."),
    };
}
