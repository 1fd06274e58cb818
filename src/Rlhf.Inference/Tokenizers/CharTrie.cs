namespace Rlhf.Tokenizers;

/// <summary>A set of texts with numbers, looked up by what a text begins with.</summary>
internal sealed class CharTrie
{
    private const int Root = 0;

    private readonly Dictionary<long, int> children = [];
    private readonly List<int> values = [-1];

    /// <summary>Adds a text; of equal ones the first counts.</summary>
    public void Add(ReadOnlySpan<char> key, int value)
    {
        int node = Root;
        foreach (char c in key)
        {
            if (!children.TryGetValue(Edge(node, c), out int child))
            {
                children.Add(Edge(node, c), child = values.Count);
                values.Add(-1);
            }
            node = child;
        }
        if (values[node] < 0)
            values[node] = value;
    }

    /// <summary>The node behind a character, or -1; the search begins at node 0.</summary>
    public int Step(int node, char c) => children.TryGetValue(Edge(node, c), out int child) ? child : -1;

    /// <summary>The number of the text that ends at a node, or -1.</summary>
    public int Value(int node) => values[node];

    /// <summary>The longest of the texts that <paramref name="text"/> begins with: its number, or -1.</summary>
    public int Longest(ReadOnlySpan<char> text, out int length)
    {
        int node = Root, found = -1;
        length = 0;
        for (int i = 0; i < text.Length && (node = Step(node, text[i])) >= 0; i++)
            if (values[node] >= 0)
                (found, length) = (values[node], i + 1);
        return found;
    }

    private static long Edge(int node, char c) => ((long)node << 16) | c;
}
