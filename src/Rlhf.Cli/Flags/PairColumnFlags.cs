using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Data;

namespace Rlhf.Cli.Flags;

/// <summary>The columns of preference pairs.</summary>
internal sealed record PairColumnFlags
{
    [Description("Column of the prompt; default: prompt, question, instruction and other usual names.")]
    [ValueName("NAME")]
    public string? PromptColumn { get; init; }

    [Description("Column of the better answer; default: chosen, response_j and other usual names.")]
    [ValueName("NAME")]
    public string? ChosenColumn { get; init; }

    [Description("Column of the worse answer; default: rejected, response_k and other usual names.")]
    [ValueName("NAME")]
    public string? RejectedColumn { get; init; }

    [Description("Column of the margin by which the better answer is better; default: margin, where there is one.")]
    [ValueName("NAME")]
    public string? MarginColumn { get; init; }

    [Description("Chat template for answers that are messages: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    /// <summary>The problem of columns without pairs.</summary>
    /// <param name="pairs">What --pairs names.</param>
    public IEnumerable<string> ProblemsWithout(string? pairs) =>
        pairs is null && (PromptColumn ?? ChosenColumn ?? RejectedColumn ?? MarginColumn ?? ChatTemplate) is not null
            ? ["PromptColumn, ChosenColumn, RejectedColumn, MarginColumn and ChatTemplate belong to Pairs."] : [];

    /// <summary>The pairs of a path in an order drawn from the seed.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="flag">The flag that names the path.</param>
    /// <param name="path">The path, or a name on the Hub.</param>
    /// <param name="split">The split; null: --split.</param>
    /// <param name="limit">Most pairs; null: --max-texts.</param>
    /// <param name="seed">Decides the order, and which pairs are drawn.</param>
    /// <param name="model">The model's folder, for its chat template.</param>
    public IReadOnlyList<PreferencePair> Load(VerbContext context, string flag, string path, string? split, int? limit, long seed, string model)
    {
        var data = context.Settings.Get<DatasetFlags>();
        var (source, chosen) = DatasetFlags.Announced(context, HubFiles.Dataset(context, flag, path, split ?? data.Split, data.Subset));
        return PreferenceDataset.Load(source, new PreferenceReadOptions
        {
            PromptColumn = PromptColumn,
            ChosenColumn = ChosenColumn,
            RejectedColumn = RejectedColumn,
            MarginColumn = MarginColumn,
            Template = ChatTemplates.TryOf(ChatTemplate, model),
            Split = chosen,
            Limit = limit ?? data.MaxTexts,
            ShuffleSeed = seed,
        });
    }

    /// <summary>Pairs to train on and pairs to evaluate on, in an order drawn from the seed; no prompt is in both parts.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="pairs">What --pairs names.</param>
    /// <param name="seed">Decides the order, and which pairs are drawn.</param>
    /// <param name="model">The model's folder, for its chat template.</param>
    public (IReadOnlyList<PreferencePair> Train, IReadOnlyList<PreferencePair> HeldOut) LoadSplit(VerbContext context, string pairs, long seed, string model)
    {
        var flags = context.Settings.Get<HeldOutFlags>();
        var (train, heldOut) = flags.SplitByPrompt((path, split, limit) =>
            Load(context, path is null ? "--pairs" : "--eval-dataset", path ?? pairs, split, limit, seed, model));
        if (heldOut.Count == 0 && flags.EvalFraction > 0)
            context.Screen.Line("[yellow]No pair is held out: whole prompts are, and none has few enough pairs. "
                + "Raise --eval-fraction or name --eval-dataset.[/]");
        return (train, heldOut);
    }
}
