namespace Rlhf.Tokenizers;

/// <summary>Added tokens, collected from several files: one entry for each text, new ids behind the vocabulary.</summary>
internal sealed class AddedTokenList(IReadOnlyDictionary<string, int> vocabulary)
{
    private readonly Dictionary<string, AddedToken> tokens = new(StringComparer.Ordinal);
    private int lastId = vocabulary.Values.DefaultIfEmpty(-1).Max();

    /// <summary>The vocabulary or the list has this token.</summary>
    public bool Contains(string content) => tokens.ContainsKey(content) || vocabulary.ContainsKey(content);

    /// <summary>Adds or replaces. The vocabulary's id counts where it knows the token.</summary>
    public void Put(AddedToken token)
    {
        if (token.Content.Length == 0)
            return;
        tokens[token.Content] = token = vocabulary.TryGetValue(token.Content, out int id) ? token with { Id = id } : token;
        lastId = Math.Max(lastId, token.Id);
    }

    /// <summary>Adds, unless the list has it.</summary>
    public void PutMissing(AddedToken token)
    {
        if (!tokens.ContainsKey(token.Content))
            Put(token);
    }

    /// <summary>Makes a token a special one; one that nothing knows yet gets the next free id.</summary>
    public void PutSpecial(string content, JsonPlace? flags, bool leftStrip)
    {
        if (tokens.TryGetValue(content, out var known))
            tokens[content] = known with { Special = true };
        else if (flags is { } place)
            Put(TokenizerFiles.ReadAddedToken(place, NextId(content)) with { Special = true });
        else
            Put(new AddedToken(content, NextId(content), Special: true, LeftStrip: leftStrip));
    }

    /// <summary>All of them by id.</summary>
    public IReadOnlyList<AddedToken> ToList() => [.. tokens.Values.OrderBy(t => t.Id)];

    private int NextId(string content) => vocabulary.TryGetValue(content, out int id) ? id : lastId + 1;
}
