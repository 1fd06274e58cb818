using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Data;

namespace Rlhf.Cli.Verbs;

/// <summary>Pairs and labeled answers, to train on and held out.</summary>
internal static class PreferenceData
{
    /// <summary>Pairs; no prompt is in both parts.</summary>
    public static (IReadOnlyList<PreferencePair> Train, IReadOnlyList<PreferencePair> HeldOut) Pairs(
        VerbContext context, string pairs, long seed, string model)
    {
        var heldOutFlags = context.Settings.Get<HeldOutFlags>();
        var (train, heldOut) = heldOutFlags.SplitByPrompt((path, split, limit) => context.Settings.Get<PairColumnFlags>().Load(
            context, path is null ? "--pairs" : "--eval-dataset", path ?? pairs, split, limit, seed, model));
        if (train.Count == 0)
            throw new InvalidDataException($"{pairs} holds no pair to train on.");
        if (heldOut.Count == 0 && heldOutFlags.EvalFraction > 0)
            context.Screen.Line("[yellow]No pair is held out: whole prompts are, and none has few enough pairs. "
                + "Raise --eval-fraction or name --eval-dataset.[/]");
        return (train, heldOut);
    }

    /// <summary>Labeled answers; no prompt is in both parts.</summary>
    public static (IReadOnlyList<LabeledAnswer> Train, IReadOnlyList<LabeledAnswer> HeldOut) Answers(VerbContext context, KtoFlags options, long seed, string model)
    {
        if (options.Pairs is { } pairs)
        {
            var (chosen, held) = Pairs(context, pairs, seed, model);
            return ([.. chosen.SelectMany(Both)], [.. held.SelectMany(Both)]);
        }
        var data = context.Settings.Get<DatasetFlags>();
        var columns = context.Settings.Get<PairColumnFlags>();
        var heldOutFlags = context.Settings.Get<HeldOutFlags>();
        var (train, heldOut) = heldOutFlags.Split<LabeledAnswer>((path, split, limit) =>
        {
            var (source, chosen) = data.Locate(context, path, split);
            return LabeledAnswerDataset.Load(source, new()
            {
                PromptColumn = columns.PromptColumn,
                CompletionColumn = options.CompletionColumn,
                LabelColumn = options.LabelColumn,
                Template = ChatTemplates.TryOf(columns.ChatTemplate, model),
                Split = chosen,
                Limit = limit ?? data.MaxTexts,
                ShuffleSeed = seed,
            });
        });
        var known = heldOut.Select(a => a.Prompt).ToHashSet();
        train = [.. train.Where(a => !known.Contains(a.Prompt))];
        return train.Count > 0 ? (train, heldOut) : throw new InvalidDataException($"{data.Dataset} holds no answer to train on.");
    }

    private static IEnumerable<LabeledAnswer> Both(PreferencePair pair) =>
    [
        new(pair.Prompt, pair.Chosen, true) { IsRendered = pair.IsRendered },
        new(pair.Prompt, pair.Rejected, false) { IsRendered = pair.IsRendered },
    ];
}
