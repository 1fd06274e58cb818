// Writes the data of a task whose answers can be checked: lists of as many words as a prompt asks for (docs/grpo.md).
//
//   dotnet run -c Release --project samples/CountedLists -- FOLDER [SEED]
//
// FOLDER/texts.txt        what a tokenizer learns from
// FOLDER/sft.jsonl        prompts with lists whose length mostly has nothing to do with the number in the prompt
// FOLDER/prompts/*.jsonl  train: prompts to practice on; test: pairs of kind and number that are in none of them
// FOLDER/count.csx        the reward: exactly as many words of the kind as were asked for

using System.Text.Json;

const int Longest = 6, Lists = 12_000, HeldOutPairs = 12;
// The number in the prompt is followed one time in seven, as if by people who did not care; otherwise the length is drawn at random.
const double Followed = 0.15;

if (args is not [var folder, .. { Length: <= 1 } rest])
{
    Console.Error.WriteLine("Name the folder to write to, and a seed if you like: CountedLists FOLDER [SEED]");
    return 2;
}
var random = new Random(rest is [var seed] ? int.Parse(seed) : 11);

Dictionary<string, string[]> kinds = new()
{
    ["fruits"] = ["apple", "pear", "plum", "cherry", "lemon", "grape", "melon", "peach", "mango", "fig"],
    ["animals"] = ["cat", "dog", "cow", "horse", "sheep", "goat", "mouse", "lion", "bear", "wolf"],
    ["colors"] = ["red", "blue", "green", "white", "black", "brown", "pink", "gray", "gold", "violet"],
    ["tools"] = ["hammer", "saw", "drill", "axe", "knife", "file", "chisel", "wrench", "pliers", "rake"],
    ["trees"] = ["oak", "pine", "elm", "birch", "maple", "willow", "ash", "cedar", "beech", "spruce"],
    ["birds"] = ["owl", "hawk", "crow", "dove", "swan", "robin", "eagle", "finch", "heron", "stork"],
    ["metals"] = ["iron", "copper", "silver", "tin", "lead", "zinc", "nickel", "steel", "brass", "bronze"],
    ["rivers"] = ["nile", "rhine", "danube", "volga", "thames", "seine", "loire", "elbe", "tiber", "ganges"],
    ["cities"] = ["rome", "paris", "london", "berlin", "madrid", "vienna", "oslo", "cairo", "tokyo", "lima"],
    ["drinks"] = ["water", "tea", "coffee", "milk", "juice", "cocoa", "cider", "beer", "wine", "soda"],
    ["clothes"] = ["hat", "coat", "shirt", "shoe", "sock", "glove", "scarf", "dress", "belt", "boot"],
    ["spices"] = ["pepper", "ginger", "cumin", "basil", "thyme", "clove", "mint", "saffron", "sage", "dill"],
    ["planets"] = ["mercury", "venus", "earth", "mars", "jupiter", "saturn", "uranus", "neptune", "pluto", "ceres"],
    ["sports"] = ["tennis", "golf", "rugby", "hockey", "rowing", "boxing", "judo", "chess", "skiing", "polo"],
    ["vehicles"] = ["car", "bus", "train", "plane", "ship", "truck", "bike", "tram", "ferry", "van"],
    ["fabrics"] = ["cotton", "wool", "silk", "linen", "felt", "velvet", "denim", "lace", "satin", "tweed"],
};
string[] names = [.. kinds.Keys], forms = ["List {0} {1}:", "Name {0} {1}:", "{0} {1}:", "Give me {0} {1}:"];

var pairs = (from kind in names from count in Enumerable.Range(1, Longest) select (kind, count)).ToArray();
random.Shuffle(pairs);

Directory.CreateDirectory(Path.Combine(folder, "prompts"));
(string Prompt, string Completion)[] lists = [.. Enumerable.Range(0, Lists).Select(_ =>
{
    var (kind, count) = (names[random.Next(names.Length)], random.Next(1, Longest + 1));
    int length = random.NextDouble() < Followed ? count : random.Next(1, Longest + 1);
    string[] words = [.. kinds[kind]];
    random.Shuffle(words);
    return (string.Format(forms[random.Next(forms.Length)], count, kind), " " + string.Join(' ', words.Take(length)));
})];
File.WriteAllLines(Path.Combine(folder, "texts.txt"), lists.Select(l => l.Prompt + l.Completion));
File.WriteAllLines(Path.Combine(folder, "sft.jsonl"), lists.Select(l => JsonSerializer.Serialize(new { prompt = l.Prompt, completion = l.Completion })));
WritePrompts("test", pairs[..HeldOutPairs]);
WritePrompts("train", pairs[HeldOutPairs..]);
File.WriteAllText(Path.Combine(folder, "count.csx"), """
    // Exactly as many words as the prompt asks for, all of the kind that it asks for.
    var words = Response.Split(' ', StringSplitOptions.RemoveEmptyEntries);
    var known = ((string)Fields["words"]!).Split(' ');
    words.Length == (long)Fields["count"]! && words.All(known.Contains)

    """);
Console.WriteLine($"{lists.Length:N0} lists, {(pairs.Length - HeldOutPairs) * forms.Length} prompts to practice on and {HeldOutPairs * forms.Length} held out are in {folder}.");
return 0;

void WritePrompts(string split, (string Kind, int Count)[] of) => File.WriteAllLines(Path.Combine(folder, "prompts", split + ".jsonl"),
    from pair in of
    from form in forms
    select JsonSerializer.Serialize(new { prompt = string.Format(form, pair.Count, pair.Kind), count = pair.Count, words = string.Join(' ', kinds[pair.Kind]) }));
