namespace Rlhf.Tokenizers.Pipeline;

/// <summary>The post-processors of tokenizer.json: which special tokens stand around texts.</summary>
internal static class TemplateReader
{
    /// <summary>What a post-processor adds around texts.</summary>
    public static SequenceTemplate Read(JsonPlace processor)
    {
        var type = processor.Required("type");
        switch (type.Text())
        {
            case "ByteLevel": // places of tokens only
                return SequenceTemplate.None;
            case "BertProcessing":
                return SequenceTemplate.Bert(Id(processor, "cls"), Id(processor, "sep"));
            case "RobertaProcessing":
                return SequenceTemplate.Roberta(Id(processor, "cls"), Id(processor, "sep")) with { MarksSecondText = false };
            case "Sequence":
                var adding = processor.Required("processors").Items().Select(Read).Where(t => t.Ids.Any()).ToArray();
                return adding.Length <= 1 ? adding.FirstOrDefault() ?? SequenceTemplate.None
                    : throw processor.Wrong("adds special tokens more than once; keep one of its processors");
            case "TemplateProcessing":
                return ReadTemplate(processor);
            case var other:
                throw type.Wrong($"is '{other}'; known are Sequence, TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel");
        }
    }

    private static int Id(JsonPlace processor, string name)
    {
        var entry = processor.Required(name).Items().ToArray();
        return entry.Length == 2 ? entry[1].Id() : throw processor.Required(name).Wrong("must be a token and its id");
    }

    private static SequenceTemplate ReadTemplate(JsonPlace processor)
    {
        var tokens = processor["special_tokens"]?.Members().ToDictionary(
            x => x.Name, x => x.Value.Required("ids").Items().Select(i => i.Id()).ToArray(), StringComparer.Ordinal) ?? [];
        var (single, singleTypes) = Parts(processor.Required("single"), tokens, "A");
        var (pair, pairTypes) = Parts(processor.Required("pair"), tokens, "A", "B");
        bool marks = processor.Required("pair").Items().Any(
            p => p["Sequence"] is { } text && text.Text("id") == "B" && text["type_id"]?.Id() == 1);
        return new(single[0], single[1], pair[0], pair[1], pair[2])
        {
            MarksSecondText = marks,
            SingleTypes = singleTypes,
            PairTypes = pairTypes,
        };
    }

    /// <summary>The ids before, between and behind the texts, and the token types of ids and texts in their order.</summary>
    private static (List<int>[] Ids, List<int> Types) Parts(
        JsonPlace list, Dictionary<string, int[]> tokens, params string[] sequences)
    {
        var parts = new List<List<int>> { new() };
        var types = new List<int>();
        foreach (var piece in list.Items())
        {
            if (piece["SpecialToken"] is { } token)
            {
                var ids = tokens.TryGetValue(token.Required("id").Text(), out var found)
                    ? found : throw token.Wrong("is not among special_tokens");
                parts[^1].AddRange(ids);
                types.AddRange(Enumerable.Repeat(token["type_id"]?.Id() ?? 0, ids.Length));
            }
            else if (parts.Count <= sequences.Length && piece.Required("Sequence") is var text
                && text.Text("id") == sequences[parts.Count - 1])
            {
                parts.Add([]);
                types.Add(text["type_id"]?.Id() ?? 0);
            }
            else
            {
                throw piece.Wrong($"is out of place; the texts must come in the order {string.Join(", ", sequences)}");
            }
        }
        return parts.Count == sequences.Length + 1
            ? ([.. parts], types) : throw list.Wrong($"must name {string.Join(" and ", sequences)}");
    }
}
