namespace Rlhf.Studio;

/// <summary>One page of the studio, as the bar at the top lists it.</summary>
/// <param name="Title">Its name.</param>
/// <param name="Path">Its address, such as <c>playground</c>; empty for the first page.</param>
/// <param name="Icon">An SVG path in a 24 x 24 box.</param>
public sealed record NavigationItem(string Title, string Path, string Icon);

/// <summary>The studio's pages, in order.</summary>
public static class Navigation
{
    /// <summary>Each has a folder under <c>Pages</c>.</summary>
    public static IReadOnlyList<NavigationItem> Items { get; } =
    [
        new("Runs", "", "M4 19V5M4 19h16M7.5 15l3.5-4 3 2.5L19 8"),
        new("Playground", "playground", "M5 5h6v14H5zM13 5h6v14h-6zM7 9h2M7 12h2M15 9h2M15 12h2M15 15h2"),
        new("Label", "label", "M4 4h7v9H4zM14 4h6M14 8h6M14 12h4M5 18l3 3 6-6"),
    ];
}
